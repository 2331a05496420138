"""What every detector promises; a new one is covered on the day its file or bundle appears."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import Detector, list_detectors, load_detector
from veridical.detectors._recipe import Part
from veridical.detectors.fusion import FusionRecipe, Member
from veridical.detectors.mixture import DetectorGate, MixtureRecipe
from veridical.errors import MediaError
from veridical.media.fingerprint import dhash
from veridical.models.bundle import Bundle
from veridical.models.index import Entry, write_index
from veridical.results import Label


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
            known = Entry(dhash(picture(256, 300)), Label.FAKE, "s", "n")
            write_index(folder / "known.index", [known])
            return f"retrieval:{folder / 'known.index'}"
        case _:
            return str(bundle.folder)
    return f"{kind}:{folder / 'recipe.json'}"


MADE_HERE = ("bundle", "fusion", "mixture", "retrieval")


@pytest.fixture(params=[*list_detectors(), *(f"{kind} made for this test" for kind in MADE_HERE)])
def detector(request: pytest.FixtureRequest, tmp_path: Path, write_tiny: Callable[..., Bundle]) -> Detector:
    name, made, _ = request.param.partition(" made for this test")
    return load_detector(make(name, tmp_path, write_tiny(tmp_path / "tiny")) if made else name)


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
