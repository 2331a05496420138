"""What a detector is, and how logits become a score: the same for all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MediaError, ModelError
from veridical.models.card import Calibration, Card
from veridical.results import Score, Thresholds

Pixels = NDArray[np.uint8]

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
    """Gives scores to pictures.

    `sha256` names exactly what judges: equal hashes give equal scores. `minimum` is the least short side it
    judges, pixels. `card` is `None` for a detector that is not a bundle.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def thresholds(self) -> Thresholds: ...
    @property
    def calibrated(self) -> bool: ...
    @property
    def card(self) -> Card | None: ...
    @property
    def minimum(self) -> int: ...

    def detect(self, images: Sequence[Pixels]) -> list[Score]:
        """A score for each picture (uint8 sRGB, upright, (height, width, 3)), in order.

        A score does not depend on the other pictures of the call. Raises `MediaError` (`too_small`) for a
        picture below `minimum`, `ModelError` when the detector fails.
        """


class Carded:
    """The part of a detector that its card answers for."""

    card: Card

    @property
    def name(self) -> str:
        """As on the card."""
        return self.card.name

    @property
    def version(self) -> str:
        """As on the card."""
        return self.card.version

    @property
    def thresholds(self) -> Thresholds:
        """As on the card."""
        return self.card.thresholds

    @property
    def calibrated(self) -> bool:
        """Whether the card carries a calibration."""
        return self.card.calibration is not None

    @property
    def minimum(self) -> int:
        """The least short side, pixels."""
        return self.card.input.minimum


def score_of_logits(logits: Sequence[float], card: Card | None) -> Score:
    """The score of a picture from the raw logits of its views: their mean, calibrated as the card says.

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
        view_logits=tuple(logits),
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
