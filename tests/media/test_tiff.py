"""TIFFs of every layout: right against the samples they were written from, or refused in true words."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media import open_media

ACROSS, DOWN = np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 60))
COLOUR = np.stack([ACROSS, DOWN, 1 - ACROSS], axis=2)
GREY = (ACROSS + DOWN) / 2
KINDS = {"u": 1, "i": 2, "f": 3}

Page = tuple[NDArray[np.generic], dict[int, Sequence[int]]]


def tiff(*pages: Page, order: Literal["<", ">"] = "<") -> bytes:
    """An uncompressed TIFF of pages: samples (h, w), (h, w, c), or (c, h, w) where 284 is 2; and tags."""
    out = bytearray({"<": b"II*\x00", ">": b"MM\x00*"}[order] + bytes(4))
    link = 4
    for samples, more in pages:
        is_planar = more.get(284) == [2]
        layers = list(samples) if is_planar else [samples]
        count = len(layers) if is_planar else (1 if samples.ndim == 2 else samples.shape[2])
        height, width = layers[0].shape[:2]
        places = []
        for layer in layers:
            places.append(len(out))
            out += layer.astype(layer.dtype.newbyteorder(order)).tobytes()
        tags: dict[int, Sequence[int]] = {
            256: [width],
            257: [height],
            258: [8 * samples.dtype.itemsize] * count,
            259: [1],
            262: [2 if count >= 3 else 1],
            273: places,
            277: [count],
            278: [height],
            279: [layer.nbytes for layer in layers],
            339: [KINDS[samples.dtype.kind]] * count,
        }
        tags |= more
        entries = b""
        for tag, values in sorted(tags.items()):
            kind, form = (4, "I") if tag in (256, 257, 273, 279, 330, 254) else (3, "H")
            packed = struct.pack(f"{order}{len(values)}{form}", *values)
            if len(packed) > 4:
                place = struct.pack(order + "I", len(out))
                out += packed
                packed = place
            entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\x00")
        out += bytes(len(out) % 2)
        struct.pack_into(order + "I", out, link, len(out))
        out += struct.pack(order + "H", len(tags)) + entries
        link = len(out)
        out += bytes(4)
    return bytes(out)


def stored(level: NDArray[np.float64], kind: str) -> NDArray[np.generic]:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return level.astype(dtype)
    return np.rint(level * np.iinfo(dtype).max).astype(dtype)


def expected(level: NDArray[np.float64]) -> NDArray[np.float64]:
    exact = 255 * (level if level.ndim == 3 else np.repeat(level[:, :, None], 3, 2))
    return exact


def off(data: bytes, level: NDArray[np.float64]) -> float:
    return float(np.abs(open_media(data).pixels - expected(level)).max())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_every_depth_has_its_level_and_its_sense(
    kind: str, order: Literal["<", ">"], white_is_zero: bool
) -> None:
    level = 1 - GREY if white_is_zero else GREY
    data = tiff((stored(level, kind), {262: [0 if white_is_zero else 1]}), order=order)
    assert off(data, GREY) <= 0.6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("planar", [False, True])
def test_colour_of_every_depth_in_pixels_and_in_planes(
    kind: str, order: Literal["<", ">"], planar: bool
) -> None:
    samples = stored(COLOUR, kind)
    data = tiff((np.moveaxis(samples, 2, 0) if planar else samples, {284: [2 if planar else 1]}), order=order)
    assert off(data, COLOUR) <= 0.6


def test_floats_up_to_255_are_levels() -> None:
    assert off(tiff(((GREY * 255).astype(np.float32), {})), GREY) <= 0.6


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize(
    ("meaning", "alpha"), [(meaning, alpha) for meaning in (0, 1, 2) for alpha in (0.25, 1.0)]
)
def test_a_fourth_channel_is_alpha_only_where_it_is_said_to_be(kind: str, meaning: int, alpha: float) -> None:
    colour = COLOUR * alpha if meaning == 1 else COLOUR
    samples = stored(np.dstack([colour, np.full(GREY.shape, alpha)]), kind)
    seen = COLOUR if meaning == 0 else COLOUR * alpha + 128 / 255 * (1 - alpha)
    assert off(tiff((samples, {338: [meaning]})), seen) <= 2.5


def test_grey_with_alpha_of_16_bits() -> None:
    samples = stored(np.dstack([GREY, np.full(GREY.shape, 0.5)]), "u2")
    assert off(tiff((samples, {338: [2], 262: [1]})), GREY / 2 + 64 / 255) <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_pages_of_every_depth_are_turned_upright(kind: str, orientation: int) -> None:
    turns = {1: 0, 3: 2, 6: 1, 8: 3}
    data = tiff(
        (np.ascontiguousarray(np.rot90(stored(COLOUR, kind), turns[orientation])), {274: [orientation]})
    )
    assert off(data, COLOUR) <= 0.6


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (stored(COLOUR, "f4"), "32-bit floating-point numbers in colour"),
        (stored(GREY, "i2"), "16-bit signed numbers in grey"),
        (stored(COLOUR, "u4"), "32-bit whole numbers in colour"),
    ],
)
def test_what_has_no_white_is_refused_in_true_words(samples: NDArray[np.generic], words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        open_media(tiff((samples, {})))
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_cmyk_of_8_and_16_bits_follows_the_stated_formula(kind: str) -> None:
    ink = np.dstack([1 - COLOUR, np.full(GREY.shape, 0.25)])
    assert off(tiff((stored(ink, kind), {262: [5]})), COLOUR * 0.75) <= 2


def test_12_bits_whose_white_is_zero_are_refused_or_right() -> None:
    words = np.rint(GREY * 4095).astype(np.uint16).reshape(-1, 2)
    packed = np.stack([words[:, 0] >> 4, (words[:, 0] & 15) << 4 | words[:, 1] >> 8, words[:, 1] & 255], axis=1)
    rows = packed.astype(np.uint8).reshape(60, 120)
    layout: dict[int, Sequence[int]] = {256: [80], 258: [12], 279: [rows.nbytes]}
    assert off(tiff((rows, layout)), GREY) <= 1
    with pytest.raises(MediaError, match="12-bit whole numbers in grey"):
        open_media(tiff((rows, layout | {262: [0]})))


def test_16_bits_that_are_cut_off_are_truncated() -> None:
    data = tiff((stored(COLOUR, "u2"), {}))
    cut = data[: len(data) // 2]
    # The directory lies at the end: moved to the front it survives the cut.
    directory = data[struct.unpack_from("<I", data, 4)[0] :]
    assert len(directory) < 200
    with pytest.raises(MediaError) as caught:
        open_media(cut)
    assert caught.value.code in ("truncated", "unsupported_format")


# The picture and not its thumbnail

SMALL = stored(COLOUR[::2, ::2], "u1")
LARGE = stored(COLOUR, "u1")


@pytest.mark.parametrize("mark", [{254: [1]}, {255: [2]}, {}])
def test_a_reduced_first_page_gives_way_to_the_picture(mark: dict[int, Sequence[int]]) -> None:
    image = open_media(tiff((SMALL[:, :40], mark), (LARGE, {})))
    assert (image.width, image.height) == (80, 60)
    assert np.array_equal(image.pixels, LARGE)


def test_a_first_page_that_is_another_picture_stays_the_first() -> None:
    image = open_media(tiff((LARGE, {}), (SMALL, {254: [1]})))
    assert (image.width, image.frame_count, image.warnings) == (80, 1, ())
    other = np.zeros((200, 90, 3), np.uint8)
    image = open_media(tiff((LARGE, {}), (other, {})))
    assert (image.width, image.frame_count, image.warnings) == (80, 2, ("frames_limited",))


@pytest.mark.parametrize(
    "mark", [{50706: [1, 4]}, {262: [32803]}, {262: [34892]}, {259: [34713]}, {259: [32767]}]
)
@pytest.mark.parametrize("place", [0, 1])
def test_camera_raw_is_not_judged(mark: dict[int, Sequence[int]], place: int) -> None:
    pages: list[Page] = [(SMALL, {254: [1]}), (LARGE, {})]
    pages[place] = (pages[place][0], pages[place][1] | mark)
    with pytest.raises(MediaError, match="camera raw is not judged") as caught:
        open_media(tiff(*pages))
    assert caught.value.code == "unsupported_format"


def test_camera_raw_inside_a_directory_is_found() -> None:
    """As in a NEF: the first page is a preview, and points to the raw data."""
    raw = tiff((LARGE[:, :, 0], {262: [32803]}), (SMALL, {254: [1], 330: [0]}))
    data = bytearray(raw)
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, first + 2 + 12 * count)[0]
    struct.pack_into("<I", data, 4, second)
    entries = range(second + 2, second + 2 + 12 * struct.unpack_from("<H", data, second)[0], 12)
    inner = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == 330)
    struct.pack_into("<I", data, inner + 8, first)
    with pytest.raises(MediaError, match="camera raw is not judged"):
        open_media(bytes(data))


@pytest.mark.parametrize(
    "start", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\x00", b"IIU\x00\x18\x00", b"\x00\x00\x00\x18ftypcrx \x00\x00"]
)
def test_camera_raw_of_its_own_kind_is_named(start: bytes) -> None:
    with pytest.raises(MediaError, match="camera raw is not judged"):
        open_media(start + bytes(100))
