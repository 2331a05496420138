"""Each case of `../shared/cases` that concerns decoding has its right value: what people reported elsewhere."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from veridical.errors import MediaError
from veridical.media import Image, open_media
from veridical.media.image import Pixels

pytestmark = pytest.mark.shared


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    folder = shared / "cases" / "files"
    if not folder.is_dir():
        pytest.skip(f"needs the cases at {folder}")
    return folder


def difference(pixels: Pixels, expected: Pixels) -> float:
    """Mean absolute difference in levels."""
    assert pixels.shape == expected.shape
    return float(np.abs(pixels.astype(int) - expected).mean())


def source(cases: Path, name: str) -> Pixels:
    with Pil.open(cases / name) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("c04_gbr_lossless.jxl", 2.5),
        ("c05_p3_lossless.jxl", 2.5),
        ("c06_prophoto_lossless.jxl", 2.5),
        ("c07_p3_cicp.avif", 2.0),
        ("c10_pq_cicp.png", 2.0),
        ("c11_p3_cicp.png", 2.0),
        ("c12_linear_gama.png", 2.0),
        ("c13_adobe_chrm_gama.png", 2.0),
    ],
)
def test_a_stated_colour_space_is_converted(cases: Path, name: str, tolerance: float) -> None:
    image = open_media(cases / name)
    assert difference(image.pixels, source(cases, "ref_sat.png")) < tolerance
    assert image.warnings == ()


def test_heic_in_display_p3_is_converted_where_it_says_so(cases: Path) -> None:
    """The case's file says nothing of its colours (no colr box; 2, "not stated", in the HEVC stream)."""
    data = (cases / "c08_p3_nclx.heic").read_bytes()
    expected = source(cases, "ref_sat.png")
    assert b"colr" not in data
    assert difference(open_media(data).pixels, expected) > 12
    not_stated, display_p3 = b"\x70\x20\x20\x60", b"\x70\xc0\xd0\x60"
    assert data.count(not_stated) == 1
    assert difference(open_media(data.replace(not_stated, display_p3)).pixels, expected) < 2
    assert difference(open_media(with_nclx(data, 12, 13)).pixels, expected) < 2


def with_nclx(heic: bytes, primaries: int, transfer: int) -> bytes:
    """The case's HEIC, whose one item gets a `colr` box as its fourth property."""
    colr = struct.pack(">I4s4sHHHB", 19, b"colr", b"nclx", primaries, transfer, 6, 0x80)
    data = bytearray(heic)
    end = data.index(b"ipma") - 4
    for name, more in ((b"meta", 20), (b"iprp", 20), (b"ipco", 19), (b"ipma", 1)):
        at = data.index(name) - 4
        struct.pack_into(">I", data, at, more + struct.unpack_from(">I", data, at)[0])
    at = data.index(b"iloc") + 16  # the base of the offsets
    struct.pack_into(">I", data, at, 20 + struct.unpack_from(">I", data, at)[0])
    last = data.index(b"ipma") + 18
    assert data[last - 4 : last] == b"\x03\x81\x02\x83"
    data[last - 4] = 4
    data[last:last] = b"\x04"
    data[end:end] = colr
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("kodim03_grayscale_gamma1.6.png", (129.0, 129.0, 129.0)),
        ("ArcTriomphe-cHRM-red-green-swap.png", (110.1, 73.3, 50.6)),
        ("t01_grey16_miniswhite.tif", (103.6, 103.6, 103.6)),
    ],
)
def test_a_picture_has_the_mean_that_other_programs_give(
    cases: Path, name: str, means: tuple[float, float, float]
) -> None:
    pixels = open_media(cases / name).pixels
    assert np.abs(pixels.mean(axis=(0, 1)) - means).max() < 1.0


@pytest.mark.parametrize(
    "name",
    ["e02_orient6_badoffset", "e03_orient6_unknowntype", "e04_orient6_badgps"]
    + ["e05_orient6_badexififd", "e06_orient6_long", "e08_orient6_makernote_cut"],
)
def test_a_broken_entry_does_not_cost_the_orientation(cases: Path, name: str) -> None:
    image = open_media(cases / f"{name}.jpg")
    assert (image.width, image.height) == (400, 600)
    upright = np.rot90(open_media(cases / "j00_plain.jpg").pixels, -1)
    assert np.array_equal(image.pixels, upright)


def test_of_two_exif_blocks_the_first_counts(cases: Path) -> None:
    image = open_media(cases / "e09_two_exif.jpg")
    assert (image.width, image.height) == (600, 400)


def answer(path: Path) -> set[str]:
    """The warnings of a picture, or the code of its refusal."""
    try:
        return set(open_media(path).warnings)
    except MediaError as error:
        return {error.code}


@pytest.mark.parametrize(
    "name",
    ["k01_zero_block", "k02_tail_zero", "k03_tail_zero_noEOI", "k04_cut_plus_EOI", "k05_bitflips"]
    + ["k09_prog_cut_EOI"],
)
def test_a_damaged_jpeg_is_said_to_be_damaged(cases: Path, name: str) -> None:
    assert answer(cases / f"{name}.jpg") & {"damaged", "truncated", "malformed"}


def test_a_jpeg_that_lacks_only_its_end_marker_is_judged_with_a_warning(cases: Path) -> None:
    image = open_media(cases / "k08_missing_EOI_only.jpg")
    assert image.warnings == ("no_end_marker",)
    assert np.array_equal(image.pixels, open_media(cases / "j00_plain.jpg").pixels)
    assert difference(image.pixels, source(cases, "ref_base.png")) < 2.3


def test_a_jpeg_of_12_bits_is_decoded(cases: Path) -> None:
    image = open_media(cases / "j02_12bit.jpg")
    assert difference(image.pixels, source(cases, "ref_base.png")) < 2.3


def test_a_jpeg_of_12_bits_that_is_cut_is_truncated(cases: Path) -> None:
    data = (cases / "j02_12bit.jpg").read_bytes()
    with pytest.raises(MediaError) as caught:
        open_media(data[: len(data) // 2])
    assert caught.value.code == "truncated"


def test_a_damaged_gain_map_does_not_cost_the_base_picture(cases: Path) -> None:
    image: Image = open_media(cases / "seine_sdr_gainmap_gammazero.avif")
    assert (image.width, image.height) == (400, 300)
    assert image.pixels.std() > 20


def test_a_reduced_first_page_is_not_taken_for_the_picture(cases: Path) -> None:
    """The full picture, or a refusal in true words: here a DNG by its tag, with a preview of 150 x 100."""
    path = cases / "t13_thumb_first.tif"
    image = open_media(path)
    assert (image.width, image.height) == (600, 400)


def test_16_bit_colour_is_rounded(cases: Path) -> None:
    assert difference(open_media(cases / "t08_rgb16.tif").pixels, source(cases, "ref_base.png")) < 1.0
