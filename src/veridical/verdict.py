"""Verdict: the one road from a decoded medium to an answer, for library, market and benchmark alike.

A detector scores the frames, gates look at them, thresholds decide, and a verdict is withheld (`unsure`) where
a gate binds that was measured to predict errors, or where parts of the medium by themselves would give opposite
verdicts. What decides is kept as codes, so that a stored row gives the same verdict again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from veridical.detectors import Detector
from veridical.detectors.base import probability
from veridical.detectors.gates import GATES, look_at_frames
from veridical.media.image import Image
from veridical.results import Score, Thresholds, Verdict

VIEWS_DISAGREE = "views_disagree"
# The decoder's warning of a picture that breaks off; what a detector says of the rest was never measured.
TRUNCATED = "truncated"
# Its warning of pixels that are not what they were: a zeroed block, flipped bits, missing scans.
DAMAGED = "damaged"

# The verdicts that each code withholds; other codes are warnings and nothing more.
WITHHOLDS: Mapping[str, Collection[Verdict]] = {
    VIEWS_DISAGREE: (Verdict.AI, Verdict.REAL),
    TRUNCATED: (Verdict.AI, Verdict.REAL),
    DAMAGED: (Verdict.AI, Verdict.REAL),
    **{gate.code: gate.withholds for gate in GATES.values()},
}


@dataclass(frozen=True)
class Judgement:
    """An answer and what it rests on.

    `parts` are the probabilities of the frames, or of a single picture's crops, each on its own. `codes` are
    those of `WITHHOLDS` that hold here; `warnings` are all that gates and the detector warned of.
    """

    verdict: Verdict
    score: Score
    thresholds: Thresholds
    parts: tuple[float, ...]
    codes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def withheld(self) -> tuple[str, ...]:
        """The codes for which a verdict that the thresholds would give is not given."""
        given = self.thresholds.decide(self.score.probability)
        return tuple(code for code in self.codes if given in WITHHOLDS[code])


def judge_medium(medium: Image, detector: Detector, *, thresholds: Thresholds | None = None) -> Judgement:
    """The verdict on a decoded medium; `thresholds` replace the detector's.

    Raises `MediaError` (`too_small`), `ModelError` as the detector does.
    """
    effective = detector.thresholds if thresholds is None else thresholds
    score = detector.detect(medium)
    warnings = tuple(dict.fromkeys((*look_at_frames(medium.frames), *score.warnings)))
    parts = tuple(probability(logit, detector.card) for logit in score.part_logits)
    # Gates say where a card's error rates do not hold. A detector without a card states none: what `retrieval`
    # knows of a picture does not depend on its texture.
    binding = (*medium.warnings, *(warnings if detector.card else ()))
    codes = withholding_codes(parts, effective, binding)
    return Judgement(
        verdict=decide(score.probability, effective, codes),
        score=score,
        thresholds=effective,
        parts=parts,
        codes=codes,
        warnings=tuple(dict.fromkeys((*warnings, *codes))),
    )


def withholding_codes(
    parts: Sequence[float], thresholds: Thresholds, warnings: Sequence[str]
) -> tuple[str, ...]:
    """The codes that can withhold a verdict at these thresholds: warnings of `WITHHOLDS`, and disagreement.

    >>> band = Thresholds(ai=0.9, real=0.2)
    >>> withholding_codes((0.95, 0.5, 0.1), band, ("flat_picture", "trailing_data"))
    ('flat_picture', 'views_disagree')
    """
    verdicts = {thresholds.decide(part) for part in parts}
    disagree = {Verdict.AI, Verdict.REAL} <= verdicts
    found = [code for code in warnings if code in WITHHOLDS and code != VIEWS_DISAGREE]
    return (*found, VIEWS_DISAGREE) if disagree else tuple(found)


def decide(score: float, thresholds: Thresholds, codes: Sequence[str]) -> Verdict:
    """The verdict for a calibrated probability, or `unsure` if one of the codes withholds it.

    >>> band = Thresholds(ai=0.9, real=0.2)
    >>> [decide(p, band, ["heavy_compression"]).value for p in (0.95, 0.5, 0.1)]
    ['ai', 'unsure', 'unsure']
    """
    verdict = thresholds.decide(score)
    return Verdict.UNSURE if any(verdict in WITHHOLDS[code] for code in codes) else verdict
