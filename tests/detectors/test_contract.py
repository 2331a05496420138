"""What every detector promises; a new one is covered on the day its file or bundle appears."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.analysis import judge
from veridical.data.samples import read_samples
from veridical.detectors import Detector, list_detectors, load_detector
from veridical.detectors.base import probability
from veridical.detectors.bundle import BundleDetector
from veridical.detectors.fusion import FusionRecipe, Member
from veridical.detectors.mixture import DetectorGate, MixtureRecipe
from veridical.detectors.recipes import Part
from veridical.detectors.retrieval.index import KnownPicture, write_index
from veridical.errors import MediaError
from veridical.evaluation.predictions import predict
from veridical.media import Image
from veridical.media.fingerprint import dhash
from veridical.models.bundle import Bundle
from veridical.models.card import Calibration
from veridical.results import Label, Score, Thresholds, Verdict
from veridical.verdict import VIEWS_DISAGREE


def fusion_of(bundle: Bundle) -> FusionRecipe:
    member = Member(
        detector="./tiny",
        sha256=bundle.sha256,
        mean=1,
        deviation=0.5,
        low=0,
        high=2,
        weight=3,
        missing_weight=1,
    )
    return FusionRecipe(name="fusion", version="1", description="One mean.", members=(member,), bias=0.1)


def mixture_of(bundle: Bundle) -> MixtureRecipe:
    part = Part(detector="./tiny", sha256=bundle.sha256)
    gate = DetectorGate(expert=part, gate=part, least=0.7)
    return MixtureRecipe(name="mixture", version="1", description="A mean.", general=part, gates=(gate,))


def make(kind: str, folder: Path, bundle: Bundle) -> str:
    """Write what a detector of that kind needs, and give the name to load it by."""
    match kind:
        case "fusion":
            (folder / "recipe.json").write_bytes(fusion_of(bundle).to_json())
        case "mixture":
            (folder / "recipe.json").write_bytes(mixture_of(bundle).to_json())
        case "retrieval":
            known = KnownPicture(dhash(picture(256, 300)), Label.FAKE, "s", "n")
            write_index(folder / "known.index", [known])
            return f"retrieval:{folder / 'known.index'}"
        case _:
            return str(bundle.folder)
    return f"{kind}:{folder / 'recipe.json'}"


# Bright is fake and dark is real.
SHIFTED = Calibration(
    slope=1.0, intercept=-10.0, covariance=((0.0, 0.0), (0.0, 0.0)),
    fitted_on="val", data_sha256="0" * 64, n_real=10, n_fake=10,
)  # fmt: skip

MADE_HERE = ("bundle", "fusion", "mixture", "retrieval")


@pytest.fixture(params=[*list_detectors(), *(f"{kind} made for this test" for kind in MADE_HERE)])
def detector(request: pytest.FixtureRequest, tmp_path: Path, write_tiny: Callable[..., Bundle]) -> Detector:
    name, made, _ = request.param.partition(" made for this test")
    return load_detector(make(name, tmp_path, write_tiny(tmp_path / "tiny")) if made else name)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def score_of(detector: Detector, *frames: np.ndarray) -> Score:
    return detector.detect(Image.of(*frames))


def test_a_score_is_a_probability_inside_its_interval(detector: Detector) -> None:
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 128, 255)]
    for image in [*flat, picture(256, 300)]:
        score = score_of(detector, image)
        assert 0.0 <= score.probability <= 1.0
        assert math.isfinite(score.logit)
        assert len(score.crop_logits) >= 1
        assert score.frame_logits == ()
        low, high = score.interval or (0.0, 1.0)
        assert 0.0 <= low <= score.probability <= high <= 1.0


def test_a_picture_gets_the_same_score_again_whatever_was_judged_between(detector: Detector) -> None:
    pictures = [picture(300, 260), picture(64, 257, seed=1), picture(300, 260, seed=2)]
    scores = [score_of(detector, one) for one in pictures]
    assert scores[::-1] == [score_of(detector, one) for one in pictures[::-1]]


def test_an_animation_gets_the_calibrated_mean_of_its_frames_logits(detector: Detector) -> None:
    frames = [picture(257, 300, seed=seed) for seed in range(3)]
    alone = [score_of(detector, frame).logit for frame in frames]
    score = score_of(detector, *frames)
    if detector.name == "constant":
        assert score == score_of(detector, frames[0])
        return
    assert score.frame_logits == pytest.approx(alone)
    assert score.logit == pytest.approx(np.mean(alone))
    assert score.probability == pytest.approx(probability(score.logit, detector.card))


def test_what_was_viewed_lies_in_the_picture(detector: Detector) -> None:
    for box in score_of(detector, picture(301, 517)).viewed:
        assert 0 <= box.left < box.left + box.width <= 517
        assert 0 <= box.top < box.top + box.height <= 301


def test_every_size_from_the_minimum_on_is_judged(detector: Detector) -> None:
    least = max(detector.minimum, 32)
    sizes = [(least, least), (least + 1, least + 3), (least, 301), (301, least + 1), (257, 255), (512, 300)]
    for height, width in sizes:
        score_of(detector, picture(height, width))


def test_a_picture_below_the_minimum_is_too_small_wherever_it_stands(detector: Detector) -> None:
    small = picture(detector.minimum - 1, 300)
    with pytest.raises(MediaError) as caught:
        score_of(detector, small)
    assert caught.value.code == "too_small"


def test_the_picture_itself_is_left_as_it_was(detector: Detector) -> None:
    image = picture(300, 260)
    before = image.copy()
    score_of(detector, image)
    assert np.array_equal(image, before)


def test_a_picture_that_is_a_view_of_another_array_is_judged_like_its_copy(detector: Detector) -> None:
    view = picture(280, 600)[:, ::-2]
    assert score_of(detector, view) == score_of(detector, view.copy())


def stored(frames: list[np.ndarray]) -> bytes:
    """A lossless WebP of the frames."""
    pictures = [PIL.Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "WEBP", lossless=True, save_all=True, append_images=pictures[1:], duration=100)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["still", "large still", "animation", "flat"])
def test_users_and_benchmarks_are_given_one_verdict(detector: Detector, tmp_path: Path, kind: str) -> None:
    frames = {
        "still": [picture(256, 300)],
        "large still": [picture(700, 900)],
        "animation": [picture(256, 300, seed=seed) // (seed + 1) for seed in range(4)],
        "flat": [np.full((256, 256, 3), 200, np.uint8)],
    }[kind]
    path = tmp_path / "set" / "fake" / "g" / "one.webp"
    path.parent.mkdir(parents=True)
    path.write_bytes(stored(frames))

    told = judge(path.read_bytes(), path=None, detector=detector).report
    (measured,) = predict(detector, read_samples(tmp_path / "set"), code="x")

    assert (measured.verdict, measured.score) == (told.verdict, told.probability)
    assert set(measured.codes.split()) <= set(told.warnings)
    assert len(told.frames) == (4 if kind == "animation" and detector.name != "constant" else 0)


def test_parts_that_contradict_each_other_leave_both_unsure(
    tmp_path: Path, write_tiny: Callable[..., Bundle]
) -> None:
    band = Thresholds(ai=0.9, real=0.1)
    bundle = write_tiny(tmp_path / "tiny", scale=0.1, thresholds=band, calibration=SHIFTED)
    detector = BundleDetector(bundle)
    bright, dark = (picture(64, 64) // 4 + level for level in (190, 0))
    for name, frames in {
        "frames": [bright, bright, bright, dark],
        "crops": [np.hstack([bright, dark])],
    }.items():
        path = tmp_path / name / "fake" / "g" / "one.webp"
        path.parent.mkdir(parents=True)
        path.write_bytes(stored(frames))
        told = judge(path.read_bytes(), path=None, detector=detector).report
        (measured,) = predict(detector, read_samples(tmp_path / name), code="x")
        assert told.verdict is measured.verdict is Verdict.UNSURE
        assert measured.codes == VIEWS_DISAGREE
        assert measured.score == told.probability
        # With thresholds that none of the parts reach they no longer disagree.
        wide = Thresholds(ai=1.0, real=0.0)
        assert measured.with_operating_point(SHIFTED, wide).codes == ""


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
        # Nothing was learned, so there is nothing to state.
        assert detector.name.partition(":")[0] in {"constant", "random", "retrieval"}
        return
    assert all([card.name, card.version, card.architecture, card.description, card.licence])
    assert all([card.paper.authors, card.paper.title, card.paper.venue, card.paper.url])
    if card.calibration is None:
        assert (card.thresholds.ai, card.thresholds.real) == (None, None)
    else:
        assert card.training is not None
        assert card.measured
        assert card.limits
