from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import list_detectors, load_detector
from veridical.detectors.fusion import FusionRecipe, Member
from veridical.errors import MediaError, ModelError, UnknownModelError
from veridical.explanation.facts import fact_in_words
from veridical.media import Image
from veridical.models.bundle import Bundle
from veridical.models.card import Calibration, PixelInput
from veridical.results import Thresholds

WriteBundle = Callable[..., Bundle]

CALIBRATION = Calibration(2.0, 0.5, ((0.01, 0.0), (0.0, 0.01)), "val", "0" * 64, n_real=9, n_fake=9)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def member(bundle: Bundle, **changes: float) -> Member:
    plain = Member(
        detector=f"./{bundle.folder.name}",
        sha256=bundle.sha256,
        mean=0.0,
        deviation=1.0,
        low=-100.0,
        high=100.0,
        weight=1.0,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type] # all changed fields are numbers


def recipe(*members: Member, bias: float = 0.0) -> FusionRecipe:
    return FusionRecipe(name="both", version="1", description="Two means.", members=members, bias=bias)


def write(path: Path, what: FusionRecipe) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(what.to_json())
    return f"fusion:{path}"


def grey(level: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


@pytest.fixture
def two(tmp_path: Path, write_tiny: WriteBundle) -> tuple[Bundle, Bundle]:
    """Logits 0.01 and 0.02 times the mean pixel; the second needs 100 pixels."""
    small = write_tiny(tmp_path / "small", scale=0.01, name="small", input=PixelInput("crops", 64))
    large = write_tiny(
        tmp_path / "large", scale=0.02, name="large", input=PixelInput("crops", 128, minimum=100)
    )
    return small, large


def test_the_logit_is_a_weighted_sum_of_standardised_logits(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    what = recipe(member(two[0], mean=0.5, deviation=2.0, weight=3.0), member(two[1], weight=-1.0), bias=0.25)
    score = load_detector(write(tmp_path / "f.json", what)).detect(Image.of(grey(100, side=128)))
    assert score.logit == pytest.approx(0.25 + 3 * (1.0 - 0.5) / 2 - 2.0)
    assert score.probability == pytest.approx(1 / (1 + np.exp(-score.logit)))


def test_the_probability_is_calibrated_as_the_recipe_says(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    what = dataclasses.replace(
        recipe(member(two[0])), calibration=CALIBRATION, thresholds=Thresholds(ai=0.9, real=0.1)
    )
    detector = load_detector(write(tmp_path / "f.json", what))
    score = detector.detect(Image.of(grey(100)))
    assert score.probability == pytest.approx(CALIBRATION.probability(1.0))
    assert score.interval == pytest.approx(CALIBRATION.interval(1.0))
    assert detector.calibrated
    assert detector.thresholds == Thresholds(ai=0.9, real=0.1)


def test_a_logit_beyond_those_of_the_fit_counts_as_the_last_one_seen(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    detector = load_detector(write(tmp_path / "f.json", recipe(member(two[0], low=0.5, high=1.5))))
    logits = [detector.detect(Image.of(grey(level))).logit for level in (0, 100, 255)]
    assert logits == pytest.approx([0.5, 1.0, 1.5])


def test_a_member_that_cannot_judge_a_picture_is_left_out_and_that_is_said(
    tmp_path: Path, two: tuple[Bundle, Bundle]
) -> None:
    what = recipe(member(two[0]), member(two[1], missing_weight=0.75))
    detector = load_detector(write(tmp_path / "f.json", what))
    score = detector.detect(Image.of(grey(100, side=64)))
    assert score.logit == pytest.approx(1.0 + 0.75)
    assert any("too small for 'large'" in sentence for sentence in map(fact_in_words, score.facts))
    assert detector.minimum == 32


def test_a_picture_too_small_for_all_members_is_refused(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    detector = load_detector(write(tmp_path / "f.json", recipe(member(two[1]))))
    with pytest.raises(MediaError) as caught:
        detector.detect(Image.of(grey(100, side=99)))
    assert caught.value.code == "too_small"


def test_the_evidence_tells_what_each_member_says(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    detector = load_detector(write(tmp_path / "f.json", recipe(member(two[0]), member(two[1]))))
    score = detector.detect(Image.of(grey(100, side=128)))
    assert tuple(map(fact_in_words, score.facts)) == (
        "On their own, its members give for AI: 'small' 73 %, 'large' 88 %.",
    )


def test_a_fusion_is_found_by_name_in_the_cache(cache: Path, two: tuple[Bundle, Bundle]) -> None:
    member_of_cache = dataclasses.replace(member(two[0]), detector=str(two[0].folder))
    write(cache / "fusions" / "mine.json", recipe(member_of_cache))
    assert "fusion:mine" in list_detectors()
    assert load_detector("fusion:mine").name == "both"
    with pytest.raises(UnknownModelError) as caught:
        load_detector("fusion:mien")
    assert "Did you mean 'fusion:mine'?" in (caught.value.hint or "")


def test_another_bundle_in_a_members_place_is_refused(
    tmp_path: Path, two: tuple[Bundle, Bundle], write_tiny: WriteBundle
) -> None:
    name = write(tmp_path / "f.json", recipe(member(two[0])))
    write_tiny(tmp_path / "small", scale=0.03)
    with pytest.raises(ModelError) as caught:
        load_detector(name)
    assert caught.value.code == "hash_mismatch"


def test_a_fusion_cannot_be_made_of_itself(tmp_path: Path, two: tuple[Bundle, Bundle]) -> None:
    itself = dataclasses.replace(member(two[0]), detector="fusion:./f.json")
    with pytest.raises(ModelError) as caught:
        load_detector(write(tmp_path / "f.json", recipe(itself)))
    assert caught.value.code == "malformed_recipe"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"deviation": 1.0', '"deviation": 0.0'),
        ('"weight": 1.0', '"weight": 1e999'),
        ('"weight": 1.0', '"weight": null'),
        ('"low": -100.0', '"low": 1000.0'),
        ('"schema_version": 1', '"schema_version": 2'),
        ('"bias"', '"tendency"'),
        ("{", "["),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(
    tmp_path: Path, two: tuple[Bundle, Bundle], old: str, new: str
) -> None:
    name = write(tmp_path / "f.json", recipe(member(two[0])))
    text = (tmp_path / "f.json").read_text()
    assert old in text
    (tmp_path / "f.json").write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError) as caught:
        load_detector(name)
    assert caught.value.code == "malformed_recipe"


def test_a_fusion_of_nothing_is_no_fusion() -> None:
    with pytest.raises(ValueError, match="needs a member"):
        recipe()
