"""Detector, the protocol of everything that gives scores, and how logits become a score."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from veridical.errors import MediaError, ModelError
from veridical.media.image import Image, Pixels
from veridical.models.card import Calibration, Card
from veridical.results import Score, Thresholds

# Without a fitted calibration a probability is the plain sigmoid of the logit.
_IDENTITY = Calibration(
    slope=1.0,
    intercept=0.0,
    covariance=((0.0, 0.0), (0.0, 0.0)),
    fitted_on="",
    data_sha256="",
    n_real=0,
    n_fake=0,
)


class Detector(Protocol):
    """A judge of media.

    `sha256` names exactly what judges: equal hashes give equal scores. `minimum` is the least short side it
    judges, pixels. `card` is `None` for a detector that is not a bundle.
    """

    @property
    def name(self) -> str:
        """The detector's name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def sha256(self) -> str:
        """The hash of what judges."""

    @property
    def thresholds(self) -> Thresholds:
        """Its operating point."""

    @property
    def calibrated(self) -> bool:
        """Whether its numbers went through a fitted calibration."""

    @property
    def card(self) -> Card | None:
        """Its card."""

    @property
    def minimum(self) -> int:
        """The least short side, pixels."""

    def detect(self, medium: Image) -> Score:
        """The score of a picture, or of an animation as a whole.

        A score does not depend on what was judged before. Raises `MediaError` (`too_small`) for a picture below
        `minimum`, `ModelError` when the detector fails.
        """


class Carded:
    """The part of a detector that its card answers for."""

    card: Card

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def version(self) -> str:
        """The card's version."""
        return self.card.version

    @property
    def thresholds(self) -> Thresholds:
        """The card's thresholds."""
        return self.card.thresholds

    @property
    def calibrated(self) -> bool:
        """Whether the card carries a calibration."""
        return self.card.calibration is not None

    @property
    def minimum(self) -> int:
        """The least short side, pixels."""
        return self.card.input.minimum


def score_frames(medium: Image, score_of: Callable[[Pixels], Score], card: Card | None) -> Score:
    """The score of a medium by a detector of pictures: its only frame's, or that of all its frames.

    Of several frames it is the mean of their logits, calibrated after; facts are those of the frame that the
    detector is surest about.
    """
    scores = [score_of(frame) for frame in medium.frames]
    if len(scores) == 1:
        return scores[0]
    logits = tuple(score.logit for score in scores)
    return replace(
        score_of_logits(logits, card),
        crop_logits=(),
        frame_logits=logits,
        viewed=scores[0].viewed,
        warnings=tuple(dict.fromkeys(code for score in scores for code in score.warnings)),
        facts=max(scores, key=lambda score: abs(score.logit)).facts,
    )


def score_of_logits(logits: Sequence[float], card: Card | None) -> Score:
    """The score of a picture from the raw logits of its crops: their mean, calibrated as the card says.

    Raises `ModelError` (`non_finite_parameters`) unless all are finite.
    """
    if not all(math.isfinite(logit) for logit in logits):
        name = card.name if card else "The detector"
        raise ModelError(f"{name} gave a logit that is not finite.", code="non_finite_parameters")
    logit = statistics.fmean(logits)
    return Score(
        probability=probability(logit, card),
        logit=logit,
        interval=card.calibration.interval(logit) if card and card.calibration else None,
        crop_logits=tuple(logits),
    )


def probability(logit: float, card: Card | None) -> float:
    """Probability of fake in [0, 1]: calibrated where the card carries a calibration, else the sigmoid."""
    calibration = card.calibration if card else None
    return (calibration or _IDENTITY).probability(logit)


def require_size(image: Pixels, minimum: int) -> None:
    """Raise `MediaError` (`too_small`) for a picture whose short side is below `minimum` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < minimum:
        raise MediaError(
            f"The picture has {width} x {height} pixels; this detector needs at least {minimum} on each side.",
            code="too_small",
            hint="Find a larger version of the picture; do not enlarge this one.",
        )
