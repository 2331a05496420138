from __future__ import annotations

import numpy as np

from veridical.detectors.constant import Constant, Random
from veridical.media import Image
from veridical.results import Verdict


def test_the_constant_detector_is_never_sure() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    score = Constant().detect(Image.of(image))
    assert score.probability == 0.5
    assert Constant.thresholds.decide(score.probability) is Verdict.UNSURE


def test_the_random_detector_guesses_evenly_and_by_the_pixels_alone() -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8) for seed in range(400)]
    scores = [Random().detect(Image.of(picture)).probability for picture in pictures]
    assert scores == [Random().detect(Image.of(picture.copy())).probability for picture in pictures]
    quarters, _ = np.histogram(scores, bins=4, range=(0, 1))
    assert quarters.min() > 70  # of 100 expected; fixed seeds, so this holds always or never


def test_the_random_detector_tells_shapes_apart_that_hold_the_same_bytes() -> None:
    tall, wide = np.zeros((4, 8, 3), np.uint8), np.zeros((8, 4, 3), np.uint8)
    one, other = (Random().detect(Image.of(shape)) for shape in (tall, wide))
    assert one != other
