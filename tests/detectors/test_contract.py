"""What every detector promises; a new one is covered on the day its file or bundle appears."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import Detector, list_detectors, load_detector
from veridical.errors import MediaError
from veridical.models.bundle import Bundle

THE_SMALLEST = "a bundle made for this test"


@pytest.fixture(params=[*list_detectors(), THE_SMALLEST])
def detector(request: pytest.FixtureRequest, tmp_path: Path, write_tiny: Callable[..., Bundle]) -> Detector:
    if request.param == THE_SMALLEST:
        return load_detector(str(write_tiny(tmp_path / "tiny").folder))
    return load_detector(request.param)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_score_is_a_probability_inside_its_interval(detector: Detector) -> None:
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 128, 255)]
    for score in detector.detect([*flat, picture(256, 300)]):
        assert 0.0 <= score.probability <= 1.0
        assert math.isfinite(score.logit)
        assert len(score.view_logits) >= 1
        low, high = score.interval or (0.0, 1.0)
        assert 0.0 <= low <= score.probability <= high <= 1.0


def test_a_picture_gets_the_same_score_alone_in_company_and_again(detector: Detector) -> None:
    pictures = [picture(300, 260), picture(64, 257, seed=1), picture(300, 260, seed=2)]
    together = detector.detect(pictures)
    assert together == [detector.detect([one])[0] for one in pictures]
    assert together == detector.detect(pictures)
    assert detector.detect([]) == []


def test_every_size_from_the_minimum_on_is_judged(detector: Detector) -> None:
    least = max(detector.minimum, 32)
    sizes = [(least, least), (least + 1, least + 3), (least, 301), (301, least + 1), (257, 255), (512, 300)]
    for height, width in sizes:
        assert len(detector.detect([picture(height, width)])) == 1


def test_a_picture_below_the_minimum_is_too_small_wherever_it_stands(detector: Detector) -> None:
    small = picture(detector.minimum - 1, 300)
    with pytest.raises(MediaError) as caught:
        detector.detect([picture(300, 300), small])
    assert caught.value.code == "too_small"


def test_the_picture_itself_is_left_as_it_was(detector: Detector) -> None:
    image = picture(300, 260)
    before = image.copy()
    detector.detect([image])
    assert np.array_equal(image, before)


def test_a_picture_that_is_a_view_of_another_array_is_judged_like_its_copy(detector: Detector) -> None:
    view = picture(280, 600)[:, ::-2]
    assert detector.detect([view]) == detector.detect([view.copy()])


def test_a_detector_says_who_it_is(detector: Detector) -> None:
    assert detector.name
    assert detector.version
    assert len(bytes.fromhex(detector.sha256)) == 32
    assert detector.calibrated == bool(detector.card and detector.card.calibration)
    thresholds = detector.thresholds
    if thresholds.ai is not None and thresholds.real is not None:
        assert thresholds.real < thresholds.ai


def test_a_card_is_complete(detector: Detector) -> None:
    card = detector.card
    if card is None:
        assert detector.name in {"constant", "random"}  # nothing was learned, so there is nothing to state
        return
    assert all([card.name, card.version, card.architecture, card.description, card.licence])
    assert all([card.paper.authors, card.paper.title, card.paper.venue, card.paper.url])
    if card.calibration is None:
        assert (card.thresholds.ai, card.thresholds.real) == (None, None)
    else:
        assert card.training is not None
        assert card.measured
        assert card.limits
