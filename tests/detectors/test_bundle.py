from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from veridical.detectors.bundle import BundleDetector, crop_boxes, crop_views
from veridical.errors import MediaError, ModelError
from veridical.media import Image
from veridical.models.bundle import Bundle
from veridical.models.card import Calibration, PixelInput
from veridical.results import Box, Thresholds

WriteBundle = Callable[..., Bundle]

FIVE = PixelInput(kind="crops", size=64, count=5)


def grey(level: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@given(
    st.integers(2, 700),
    st.integers(2, 700),
    st.integers(1, 8),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 7),
)
def test_crops_keep_the_grids_phase_lie_inside_and_are_never_repeated(
    height: int, width: int, units: int, align: int, count: int
) -> None:
    size = 8 * units
    pixel_input = PixelInput(kind="crops", size=size, count=count, align=align)
    height, width = max(height, align), max(width, align)
    boxes = crop_boxes(height, width, pixel_input)
    assert 1 <= len(boxes) <= min(count, 5)
    assert len(set(boxes)) == len(boxes)
    for box in boxes:
        assert box.top % align == box.left % align == 0
        assert box.height == min(size, height // align * align)
        assert box.width == min(size, width // align * align)
        assert 0 <= box.top <= height - box.height
        assert 0 <= box.left <= width - box.width


def test_the_first_crop_is_the_centre_and_then_come_the_corners() -> None:
    boxes = crop_boxes(200, 301, FIVE)
    assert [(box.top, box.left) for box in boxes] == [(68, 118), (0, 0), (0, 236), (136, 0), (136, 236)]
    assert crop_boxes(200, 301, PixelInput(kind="crops", size=64)) == [Box(118, 68, 64, 64)]


def test_a_short_side_is_taken_whole_and_trimmed_but_never_padded() -> None:
    assert crop_boxes(33, 63, FIVE) == [Box(0, 0, 62, 32)]
    assert crop_boxes(33, 200, FIVE) == [Box(68, 0, 64, 32), Box(0, 0, 64, 32), Box(136, 0, 64, 32)]


def test_crops_that_coincide_make_room_for_others() -> None:
    three = PixelInput(kind="crops", size=64, count=3)
    assert [box.top for box in crop_boxes(200, 64, three)] == [68, 0, 136]


@given(height=st.integers(32, 3000), width=st.integers(32, 3000))
def test_spread_squares_lie_in_the_picture_and_reach_every_part_of_it(height: int, width: int) -> None:
    spread = PixelInput(kind="spread", size=64, count=9)
    boxes = crop_boxes(height, width, spread)
    assert len(set(boxes)) == len(boxes) <= 9
    assert boxes[0] == crop_boxes(height, width, PixelInput(kind="crops", size=64))[0]
    for box in boxes:
        assert box.top % 2 == box.left % 2 == 0
        assert 0 <= box.top <= height - box.height
        assert 0 <= box.left <= width - box.width
    if min(height, width) >= 96:
        assert {(box.top > height / 2, box.left > width / 2) for box in boxes} >= {(False, False)}
        assert max(box.top + box.height for box in boxes) > height / 2
        assert max(box.left + box.width for box in boxes) > width / 2
        assert len(boxes) >= 5


def test_a_larger_picture_is_seen_in_more_places_and_a_panorama_along_its_length() -> None:
    spread = PixelInput(kind="spread", size=64, count=9)
    counts = [len(crop_boxes(*sides, spread)) for sides in ((64, 64), (80, 100), (200, 200), (600, 800))]
    assert counts == [1, 3, 5, 9]
    assert len(crop_boxes(80, 800, spread)) == 9
    assert len(crop_boxes(800, 80, spread)) == 9


def test_views_are_pixels_of_the_picture_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 140, 3), np.uint8)
    views = crop_views(image, FIVE)
    assert np.array_equal(views[0], image[18:82, 38:102])
    assert np.array_equal(views[4], image[36:, 76:])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_resizing_is_pillows(interpolation: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 91, 3), np.uint8)
    pixel_input = PixelInput(kind="resize", size=32, interpolation=interpolation)  # type: ignore[arg-type] # one of three
    method = PIL.Image.Resampling[interpolation.upper()]
    (view,) = crop_views(image, pixel_input)
    assert np.array_equal(view, np.asarray(PIL.Image.fromarray(image).resize((32, 32), method)))


def test_the_logit_is_the_mean_over_views_and_without_calibration_the_score_its_sigmoid(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    detector = BundleDetector(write_tiny(tmp_path, scale=0.01))
    image = grey(0, 64, 192)
    image[:, 128:] = 100  # the last of the three views: middle 0, left 0, right 100

    score = detector.detect(Image.of(image))

    assert score.crop_logits == pytest.approx((0, 0, 1))
    assert score.logit == pytest.approx(1 / 3)
    assert score.probability == pytest.approx(1 / (1 + math.exp(-1 / 3)))
    assert score.interval is None
    assert not detector.calibrated


def test_the_cards_calibration_and_thresholds_are_used(tmp_path: Path, write_tiny: WriteBundle) -> None:
    calibration = Calibration(
        slope=2.0, intercept=-1.0, covariance=((0.01, 0.0), (0.0, 0.04)),
        fitted_on="val", data_sha256="0" * 64, n_real=10, n_fake=10,
    )  # fmt: skip
    thresholds = Thresholds(ai=0.9, real=0.1)
    detector = BundleDetector(write_tiny(tmp_path, calibration=calibration, thresholds=thresholds))

    score = detector.detect(Image.of(grey(100)))

    assert score.probability == pytest.approx(1 / (1 + math.exp(-1)))
    assert score.interval == pytest.approx(calibration.interval(1.0))
    assert detector.calibrated
    assert detector.thresholds == thresholds


@pytest.mark.parametrize("level", [0, 255])
def test_the_surest_logits_stay_within_zero_and_one(
    tmp_path: Path, write_tiny: WriteBundle, level: int
) -> None:
    detector = BundleDetector(write_tiny(tmp_path, scale=1e6 if level else -1e6))
    score = detector.detect(Image.of(grey(255)))
    assert score.probability == (1.0 if level else 0.0)


def test_a_picture_below_the_minimum_is_too_small(tmp_path: Path, write_tiny: WriteBundle) -> None:
    detector = BundleDetector(write_tiny(tmp_path, input=PixelInput(kind="crops", size=64, minimum=40)))
    detector.detect(Image.of(grey(1, 40, 40)))
    with pytest.raises(MediaError) as caught:
        detector.detect(Image.of(grey(1, 39, 400)))
    assert caught.value.code == "too_small"


def test_a_logit_that_is_not_finite_is_an_error_and_never_a_score(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    detector = BundleDetector(write_tiny(tmp_path, scale=3e38))  # finite itself, but 255 of it are not
    assert detector.detect(Image.of(grey(1))).probability == 1.0
    with pytest.raises(ModelError) as caught:
        detector.detect(Image.of(grey(255)))
    assert caught.value.code == "non_finite_parameters"


def test_the_self_test_passes_for_a_working_bundle_and_fails_for_a_broken_one(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    BundleDetector(write_tiny(tmp_path / "good")).self_test()
    with pytest.raises(ModelError) as caught:
        BundleDetector(write_tiny(tmp_path / "bad", scale=3e38)).self_test()
    assert caught.value.code == "self_test_failed"


def graph_for_size_32_only() -> bytes:
    """It adds a number to each pixel of a 32 x 32 picture; at other sizes the shapes do not meet."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["floats", "numbers"], ["sums"]),
        helper.make_node("ReduceMean", ["sums", "axes"], ["logits"], keepdims=0),
    ]
    parameters = [
        onnx.numpy_helper.from_array(np.zeros((1, 32, 32, 3), np.float32), "numbers"),
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    made = helper.make_graph(nodes, "sized", [pixels], [logits], parameters)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_graph_that_fails_on_some_size_is_our_error_and_fails_the_self_test(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    detector = BundleDetector(write_tiny(tmp_path, graph=graph_for_size_32_only()))
    detector.detect(Image.of(grey(1, 32, 32)))
    with pytest.raises(ModelError, match=r"fails on \(64, 64, 3\) pixels"):
        detector.detect(Image.of(grey(1)))
    with pytest.raises(ModelError, match="self-test"):
        detector.self_test()


def test_a_card_that_promises_a_map_the_graph_does_not_give_is_refused(
    tmp_path: Path, write_tiny: WriteBundle
) -> None:
    with pytest.raises(ModelError, match="map"):
        BundleDetector(write_tiny(tmp_path, has_map=True))
