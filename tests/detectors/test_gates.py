from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont
import pytest
import simplejpeg

from veridical.analysis import judge
from veridical.data.perturbations import NAMED
from veridical.data.samples import read_samples
from veridical.detectors import load_detector
from veridical.detectors.bundle import BundleDetector
from veridical.detectors.gates import (
    GATES,
    LEAST_SIDE,
    look,
    look_at_frames,
    measure,
)
from veridical.evaluation.predictions import predict
from veridical.explanation.words import GATE_WORDS, WARNING_WORDS
from veridical.media import Image
from veridical.media.image import Pixels
from veridical.models.bundle import Bundle
from veridical.models.card import PixelInput
from veridical.results import Thresholds, Verdict
from veridical.verdict import VIEWS_DISAGREE, WITHHOLDS, decide, judge_medium

WriteBundle = Callable[..., Bundle]


def clouds(height: int = 256, width: int = 320, *, grain: float = 4) -> Pixels:
    """Soft shapes of every size under a camera's grain: what a photograph is to these statistics."""
    rng = np.random.default_rng(0)
    values = np.zeros((height, width))
    for size in (4, 16, 64):
        small = PIL.Image.fromarray(rng.normal(size=(size, size)))
        values += 25 * np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC))
    values = 128 + values[..., None] + rng.normal(0, grain, (height, width, 3))
    return values.clip(0, 255).astype(np.uint8)


def page(height: int = 256, width: int = 320) -> Pixels:
    image = PIL.Image.new("RGB", (width, height), "white")
    pen = PIL.ImageDraw.Draw(image)
    for top in range(8, height - 20, 22):
        pen.text(
            (8, top), "what is written here is only text, of this size", "black", PIL.ImageFont.load_default(15)
        )
    return np.asarray(image)


def ramp(height: int = 256, width: int = 320) -> Pixels:
    line = np.linspace(40, 200, width).astype(np.uint8)
    return np.broadcast_to(line[None, :, None], (height, width, 3)).copy()


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality)
    decoded: Pixels = simplejpeg.decode_jpeg(data)
    return decoded


def test_nothing_fires_on_what_looks_like_a_photograph() -> None:
    assert look(clouds()) == ()
    assert look(jpeg(clouds(), 90)) == ()


@pytest.mark.parametrize("quality", [None, 85])
def test_text_is_told_from_photographs_also_after_jpeg(quality: int | None) -> None:
    pixels = page() if quality is None else jpeg(page(), quality)
    assert "screenshot_or_text" in look(pixels)
    assert "screenshot_or_text" in look(255 - pixels)


@pytest.mark.parametrize(
    ("pixels", "also"),
    [(np.full((100, 80, 3), 7, np.uint8), ("plain_frame",)), (ramp(), ())],
    ids=["one colour", "gradient"],
)
def test_a_picture_without_texture_is_flat(pixels: Pixels, also: tuple[str, ...]) -> None:
    assert look(pixels) == ("flat_picture", *also)


@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_blocks_of_jpeg_are_seen_wherever_their_grid_lies_and_after_a_better_jpeg(
    offset: tuple[int, int],
) -> None:
    top, left = offset
    coarse = jpeg(clouds(grain=12), 10)[top:, left:]
    assert "heavy_compression" in look(coarse)
    assert "heavy_compression" in look(jpeg(coarse, 95))


def test_stronger_compression_never_shows_less() -> None:
    edges = [measure(jpeg(clouds(grain=12), quality)).block_edges for quality in (95, 50, 25, 10)]
    assert edges == sorted(edges)


def test_block_edges_are_the_step_at_the_border_in_grey_levels() -> None:
    squares = np.kron(np.indices((40, 32)).sum(axis=0) % 2, np.ones((8, 8)))
    checkered = np.repeat((100 + 6 * squares)[..., None], 3, axis=2).astype(np.uint8)
    assert measure(checkered).block_edges == 6


def test_shares_are_of_the_blocks_they_name() -> None:
    half_still = np.full((64, 64, 3), 50, np.uint8)
    half_still[:, 32:] = np.where(np.arange(32) % 2, 50, 70).astype(np.uint8)[None, :, None]
    found = measure(half_still)
    assert (found.still, found.half_tones, found.contrasty) == (0.5, 0.5, 0)


@pytest.mark.parametrize("shape", [(LEAST_SIDE - 1, 300), (32, 32)])
def test_gates_do_not_look_at_pictures_too_small_for_them(shape: tuple[int, int]) -> None:
    assert look(np.zeros((*shape, 3), np.uint8)) == ()


@pytest.mark.parametrize("shape", [(64, 64), (64, 5000), (1001, 999), (3000, 4000)])
def test_any_size_is_measured_at_bounded_cost(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert look(pixels) == look(pixels.copy()) == ()


def test_a_picture_on_a_page_is_not_called_real_and_one_that_fills_its_file_may_be() -> None:
    assert "plain_frame" not in look(clouds())
    assert "plain_frame" in look(NAMED["page"].apply(clouds(), np.random.default_rng(0)))
    assert GATES["plain_frame"].withholds == (Verdict.REAL,)


def test_of_an_animation_a_gate_fires_if_it_does_on_most_frames() -> None:
    flat, photograph = ramp(), clouds()
    assert look_at_frames([flat, flat, photograph]) == ("flat_picture",)
    assert look_at_frames([flat, photograph]) == ()


def test_every_gate_has_words_and_withholds_only_verdicts_that_could_be_given() -> None:
    assert GATES.keys() <= WITHHOLDS.keys() <= WARNING_WORDS.keys()
    assert GATE_WORDS.keys() == WITHHOLDS.keys() - {VIEWS_DISAGREE}
    assert {verdict for gate in GATES.values() for verdict in gate.withholds} <= {Verdict.AI, Verdict.REAL}


def test_the_verdict_without_gates_is_that_of_the_thresholds() -> None:
    band = Thresholds(ai=0.9, real=0.2)
    for probability in (0.0, 0.2, 0.5, 0.9, 1.0):
        assert decide(probability, band, ()) is band.decide(probability)


def test_a_detector_without_a_card_is_bound_by_no_gate() -> None:
    judged = judge_medium(Image.of(ramp()), load_detector("random"))
    assert (judged.warnings, judged.codes) == (("flat_picture",), ())
    assert judged.verdict is not Verdict.UNSURE


def test_a_bundle_warns_of_pictures_smaller_than_it_looks_at(tmp_path: Path, write_tiny: WriteBundle) -> None:
    detector = BundleDetector(write_tiny(tmp_path / "tiny", input=PixelInput(kind="crops", size=64)))
    small, large = (detector.detect(Image.of(clouds(*shape))) for shape in ((63, 200), (64, 64)))
    assert small.warnings == ("small_picture",)
    assert large.warnings == ()


@pytest.mark.parametrize("name", ["flat", "text", "coarse", "small", "photograph"])
@pytest.mark.parametrize("scale", [0.1, -0.1])
def test_the_verdict_that_is_measured_is_the_one_that_is_shipped(
    tmp_path: Path, write_tiny: WriteBundle, name: str, scale: float
) -> None:
    pictures = {
        "flat": ramp(),
        "text": page(),
        "coarse": jpeg(clouds(grain=12), 10),
        "small": clouds(40, 60),
        "photograph": clouds(),
    }
    path = tmp_path / "set" / "fake" / "g" / f"{name}.png"
    path.parent.mkdir(parents=True)
    PIL.Image.fromarray(pictures[name]).save(path)
    band = Thresholds(ai=0.9, real=0.1)
    detector = BundleDetector(write_tiny(tmp_path / "tiny", scale=scale, thresholds=band))

    shipped = judge(path.read_bytes(), path=None, detector=detector).report
    (measured,) = predict(detector, read_samples(tmp_path / "set"), code="x")

    assert measured.verdict is shipped.verdict
    assert measured.score == shipped.probability
    plain = Verdict.AI if scale > 0 else Verdict.REAL
    assert band.decide(measured.score) is plain
    withheld = {"flat": True, "text": True, "coarse": scale < 0, "small": scale > 0, "photograph": False}[name]
    assert shipped.verdict is (Verdict.UNSURE if withheld else plain)
    assert set(measured.codes.split()) <= set(shipped.warnings)
    assert any("does not say" in sentence for sentence in shipped.evidence) == withheld
    assert (
        judge(path.read_bytes(), path=None, detector=detector, threshold=0.9).report.warnings
        == shipped.warnings
    )
