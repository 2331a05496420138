"""The floor: a detector that knows nothing, and one that guesses. Every other must beat them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from veridical.detectors._base import Pixels, require_size, score_of_logits
from veridical.results import Score, Thresholds


class Constant:
    """Says 0.5 of every picture, so that its verdict is always `unsure`."""

    name = "constant"
    version = "1"
    sha256 = hashlib.sha256(b"veridical constant 1").hexdigest()
    thresholds = Thresholds(ai=None, real=None)
    calibrated = False
    card = None
    minimum = 1

    def detect(self, images: Sequence[Pixels]) -> list[Score]:
        """See `Detector.detect`."""
        for image in images:
            require_size(image, self.minimum)
        return [score_of_logits([0.0], None) for _ in images]


class Random:
    """Says a number drawn evenly from (0, 1), the same for the same pixels."""

    name = "random"
    version = "1"
    sha256 = hashlib.sha256(b"veridical random 1").hexdigest()
    thresholds = Thresholds(ai=0.5, real=math.nextafter(0.5, 0))
    calibrated = False
    card = None
    minimum = 1

    def detect(self, images: Sequence[Pixels]) -> list[Score]:
        """See `Detector.detect`."""
        for image in images:
            require_size(image, self.minimum)
        return [score_of_logits([_logit_of(image)], None) for image in images]


def _logit_of(image: Pixels) -> float:
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    drawn = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
    return math.log(drawn / (1 - drawn))


DETECTORS = {"constant": Constant, "random": Random}
