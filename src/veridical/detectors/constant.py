"""The floor: a detector that knows nothing, and one that guesses. Every other must beat them."""

from __future__ import annotations

import hashlib
import math

from veridical.detectors.base import require_size, score_frames, score_of_logits
from veridical.media.image import Image, Pixels
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

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        require_size(medium.pixels, self.minimum)
        return score_of_logits([0.0], None)


class Random:
    """Says a number drawn evenly from (0, 1), the same for the same pixels."""

    name = "random"
    version = "1"
    sha256 = hashlib.sha256(b"veridical random 1").hexdigest()
    thresholds = Thresholds(ai=0.5, real=math.nextafter(0.5, 0))
    calibrated = False
    card = None
    minimum = 1

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        require_size(medium.pixels, self.minimum)
        return score_frames(medium, lambda frame: score_of_logits([_logit_of(frame)], None), None)


def _logit_of(image: Pixels) -> float:
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    drawn = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
    return math.log(drawn / (1 - drawn))


DETECTORS = {"constant": Constant, "random": Random}
