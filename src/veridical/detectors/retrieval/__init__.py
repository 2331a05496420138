"""Known media: pictures that an index knows to be real or AI-generated, found by perceptual hash.

`retrieval` asks the index that `VERIDICAL_INDEX` names, else `default` in the user's cache; `retrieval:NAME` or
`retrieval:PATH` asks another. Indexes are made by `veridical index`. dHash (Neal Krawetz, 2013,
https://www.hackerfactor.com/blog/?/archives/529) and, where the index has it, PDQ (Facebook, 2019,
https://github.com/facebook/ThreatExchange) are compared, each within a radius of Hamming distance.

Where the index has embeddings, it also names pictures that show much the same (`embedding`): crops that no hash
finds, but also two photos of one cat. That decides nothing.

It knows pictures, not traces: what is not in the index gets 0.5 and the verdict `unsure`. A re-saved or resized
copy is found; one that was cropped by more than a little, rotated or mirrored is not.

How often a picture that is not in an index matches it nevertheless was measured; that is where the radius and
the certainty of a hit come from. Again by: `python benchmarks/retrieval.py ../shared/data`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import replace

from veridical.detectors.base import require_size, score_frames, score_of_logits
from veridical.detectors.retrieval.embedding import embed
from veridical.detectors.retrieval.index import Index, Match, index_path, list_indexes, read_index
from veridical.errors import MissingExtraError
from veridical.media.fingerprint import PDQ, detail, dhash, pdq
from veridical.media.image import Image, Pixels
from veridical.results import Fact, Label, Score, Thresholds

NEEDS = "an index, by veridical index build; for PDQ hashes the extra retrieval"

DHASH_RADIUS = 3
# PDQ's authors recommend both.
PDQ_RADIUS = 31
LEAST_PDQ_QUALITY = 50

# From here on pictures show "much the same".
LEAST_COSINE = 0.95

# A dHash of less `detail` than this is too common: 11 of 15 false hits came from the 2 % of pictures below it.
LEAST_DETAIL = 8

# Of 2,508 pictures outside an index of so many entries, 4 matched one by dHash: 0.16 % (95 % interval 0.06 to
# 0.41 %, of which this is the upper end). PDQ, of four times the length, hardly adds to it.
FALSE_HIT_RATE = 0.0041
FALSE_HIT_ENTRIES = 326_123

# The labels of an index are somebody's word: never more certain than this, however small the index.
_LEAST_DOUBT = 0.01

_MOST_NAMED = 3


class Retrieval:
    """Says real or AI of pictures that an index knows, and 0.5 of all others."""

    version = "1"
    thresholds = Thresholds(ai=0.9, real=0.1)
    calibrated = False
    card = None
    minimum = 32

    def __init__(self, index: Index, name: str = "retrieval") -> None:
        """Raises `MissingExtraError` for an index with PDQ hashes where the library for them is missing."""
        self.name = name
        self._index = index
        if index.has_pdq and importlib.util.find_spec("pdqhash") is None:
            raise MissingExtraError("an index with PDQ hashes", extra="retrieval")
        radii = f"{self.version} {DHASH_RADIUS} {PDQ_RADIUS} {LEAST_DETAIL} {LEAST_PDQ_QUALITY}"
        self.sha256 = hashlib.sha256(f"veridical retrieval {radii} {index.sha256}".encode()).hexdigest()

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        return score_frames(medium, self._score, self.card)

    def find(self, image: Pixels) -> list[Match]:
        """Known pictures that look like this one, the nearest first."""
        by_pdq = pdq(image) if self._index.has_pdq else None
        return self._find(dhash(image), by_pdq, embed(image) if self._index.has_embeddings else None)

    def _find(self, by_dhash: int, by_pdq: PDQ | None, embedding: bytes | None) -> list[Match]:
        return self._index.find(
            dhash=by_dhash if detail(by_dhash) >= LEAST_DETAIL else None,
            dhash_radius=DHASH_RADIUS,
            pdq=by_pdq.hash if by_pdq and by_pdq.quality >= LEAST_PDQ_QUALITY else None,
            pdq_radius=PDQ_RADIUS,
            embedding=embedding,
            least_cosine=LEAST_COSINE,
        )

    def _score(self, image: Pixels) -> Score:
        require_size(image, self.minimum)
        found = self.find(image)
        matches = [match for match in found if match.is_copy]
        alike = [match for match in found if not match.is_copy]
        labels = {match.entry.label for match in matches}
        logit = 0.0
        if len(labels) == 1:
            doubt = max(_LEAST_DOUBT, self._false_hit_rate()) / 2
            logit = math.log((1 - doubt) / doubt) * (1 if labels == {Label.FAKE} else -1)
        facts = (
            *self._facts(matches, labels),
            *(_match_fact("alike_picture", each) for each in alike[:_MOST_NAMED]),
        )
        return replace(score_of_logits([logit], None), facts=facts)

    def _false_hit_rate(self) -> float:
        return min(1.0, FALSE_HIT_RATE * len(self._index) / FALSE_HIT_ENTRIES)

    def _facts(self, matches: Sequence[Match], labels: set[Label]) -> tuple[Fact, ...]:
        if not matches:
            return (Fact("nothing_known", {"pictures": len(self._index)}),)
        facts = [_match_fact("known_picture", match) for match in matches[:_MOST_NAMED]]
        if (further := len(matches) - _MOST_NAMED) > 0:
            facts.append(Fact("further_known_pictures", {"pictures": further}))
        if len(labels) == 2:
            return (*facts, Fact("known_as_both"))
        return (*facts, Fact("chance_match", {"rate": self._false_hit_rate(), "label": _name_of(*labels)}))


def _match_fact(code: str, match: Match) -> Fact:
    distances = {"dhash": match.dhash_distance, "pdq": match.pdq_distance, "cosine": match.cosine}
    values = {"label": _name_of(match.entry.label), "name": match.entry.name, "source": match.entry.source}
    return Fact(code, values | {name: value for name, value in distances.items() if value is not None})


def _name_of(label: Label) -> str:
    return label.name.lower()


def load(argument: str) -> Retrieval:
    """The detector of an index; without an argument, of the default one. Raises `ModelError`."""
    index = read_index(index_path(argument or None))
    return Retrieval(index, f"retrieval:{argument}" if argument else "retrieval")


def names() -> list[str]:
    """Indexes that `load` finds by name on this machine."""
    default = [""] if index_path(None).is_file() else []
    return default + list_indexes()
