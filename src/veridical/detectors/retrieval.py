"""Known media: pictures that an index knows to be real or AI-generated, found by perceptual hash.

`retrieval` asks the index that `VERIDICAL_INDEX` names, else `default` in the user's cache; `retrieval:NAME` or
`retrieval:PATH` asks another. Indexes are made by `veridical index`. dHash (Neal Krawetz, 2013,
https://www.hackerfactor.com/blog/?/archives/529) and, where the index has it, PDQ (Facebook, 2019,
https://github.com/facebook/ThreatExchange) are compared, each within a radius of Hamming distance.

Where the index has embeddings, it also names pictures that show much the same (`_clip`): crops that no hash
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

from veridical.detectors._base import Pixels, require_size, score_of_logits
from veridical.detectors._clip import embed
from veridical.errors import MissingExtraError
from veridical.media.fingerprint import DHASH_BITS, PDQ, PDQ_BITS, detail, dhash, pdq
from veridical.models.index import Index, Match, index_path, list_indexes, read_index
from veridical.results import Label, Score, Thresholds

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

    def detect(self, images: Sequence[Pixels]) -> list[Score]:
        """See `Detector.detect`."""
        return [self._score(image) for image in images]

    def find(self, image: Pixels) -> list[Match]:
        """What the index knows that looks like this picture, the nearest first."""
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
        evidence = (*self._evidence(matches, labels), *map(_alike_in_words, alike[:_MOST_NAMED]))
        return replace(score_of_logits([logit], None), evidence=evidence)

    def _false_hit_rate(self) -> float:
        return min(1.0, FALSE_HIT_RATE * len(self._index) / FALSE_HIT_ENTRIES)

    def _evidence(self, matches: Sequence[Match], labels: set[Label]) -> tuple[str, ...]:
        if not matches:
            known = f"{len(self._index):,} known pictures"
            return (f"It resembles none of the {known}; or too little is in it to be told from others.",)
        sentences = [_match_in_words(match) for match in matches[:_MOST_NAMED]]
        if further := len(matches) - _MOST_NAMED:
            sentences += [f"It resembles {further:,} further known pictures."] if further > 0 else []
        if len(labels) == 2:
            sentences.append("Real and AI-generated pictures look like it, so nothing follows.")
            return tuple(sentences)
        rate = f"at most {100 * self._false_hit_rate():.2g} %"
        sentences.append(f"Of pictures outside an index of this size, {rate} resemble one in it by chance.")
        if labels == {Label.REAL}:
            sentences.append("A copy of a real picture that was altered in small parts resembles it too.")
        return tuple(sentences)


def _match_in_words(match: Match) -> str:
    said = "AI-generated" if match.entry.label is Label.FAKE else "real"
    distances = [
        f"{distance} of {bits} bits of the {name} differ"
        for name, distance, bits in (
            ("dHash", match.dhash_distance, DHASH_BITS),
            ("PDQ hash", match.pdq_distance, PDQ_BITS),
        )
        if distance is not None
    ]
    where = f"{match.entry.name} of '{match.entry.source}'"
    return f"It resembles a picture known as {said}: {where} ({', '.join(distances)})."


def _alike_in_words(match: Match) -> str:
    said = "AI-generated" if match.entry.label is Label.FAKE else "real"
    where = f"{match.entry.name} of '{match.entry.source}'"
    return (
        f"It shows much the same as a picture known as {said}: {where} (cosine {match.cosine:.3f}), "
        "from which nothing follows."
    )


def load(argument: str) -> Retrieval:
    """The detector of an index; without an argument, of the default one. Raises `ModelError`."""
    index = read_index(index_path(argument or None))
    return Retrieval(index, f"retrieval:{argument}" if argument else "retrieval")


def names() -> list[str]:
    """What `load` finds by name on this machine."""
    default = [""] if index_path(None).is_file() else []
    return default + list_indexes()
