"""Colours come out as a file states them, in every format, against files made here of known pixels."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms

from veridical.media import open_media
from veridical.media.formats._spaces import PRIMARIES, Space, from_cicp

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint16]

# Saturated, but inside sRGB: what every wider space can hold.
ACROSS, DOWN = np.meshgrid(np.linspace(4, 250, 48), np.linspace(10, 245, 64))
SOURCE: Pixels = np.stack([ACROSS, DOWN, 254 - ACROSS], axis=2).astype(np.uint8)


def png(header: tuple[int, int, int, int], rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from (width, height, depth, colour type), raw rows with filter bytes, and chunks before these."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    ihdr = struct.pack(">IIBBBBB", *header, 0, 0, 0)
    body = b"".join(chunk(name, data) for name, data in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + body + end


def linear(pixels: Pixels) -> NDArray[np.float64]:
    level = pixels / 255
    light: NDArray[np.float64] = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    return light


def in_primaries(number: int) -> NDArray[np.float64]:
    """SOURCE as linear light of these primaries of H.273, by tables printed elsewhere."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    from_xyz = {
        1: np.linalg.inv(to_xyz),
        9: np.array([[1.7167, -0.3557, -0.2534], [-0.6667, 1.6165, 0.0158], [0.0176, -0.0428, 0.9421]]),
        12: np.array([[2.4935, -0.9314, -0.4027], [-0.8295, 1.7627, 0.0236], [0.0358, -0.0762, 0.9569]]),
    }[number]
    light: NDArray[np.float64] = np.clip(linear(SOURCE) @ to_xyz.T @ from_xyz.T, 0, None)
    return light


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084 of light in units of 203 cd/m2."""
    power = (light * 203 / 10000) ** (2610 / 16384)
    level: NDArray[np.float64] = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    return level


def hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100 HLG of displayed light in units of 203 cd/m2, on a display of 1,000."""
    shown = light * 203 / 1000
    luminance = shown @ np.array([0.2627, 0.6780, 0.0593])
    scene = shown * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    level: NDArray[np.float64] = np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    )
    return level


def srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return level


def gamma(exponent: float) -> Any:
    return lambda light: light ** (1 / exponent)


CURVES: dict[int, Any] = {1: srgb, 4: gamma(2.2), 5: gamma(2.8), 8: lambda x: x, 13: srgb, 16: pq, 18: hlg}


def difference(pixels: Pixels, expected: Pixels = SOURCE) -> float:
    assert pixels.shape == expected.shape
    return float(np.abs(pixels.astype(int) - expected).mean())


def deep(level: NDArray[np.float64], maximum: int = 65535) -> Samples:
    return np.rint(np.clip(level, 0, 1) * maximum).astype(np.uint16)


def png_with(samples: Samples, *chunks: tuple[bytes, bytes]) -> bytes:
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)
    colour = 2 if samples.ndim == 3 else 0
    return png((samples.shape[1], samples.shape[0], 16, colour), rows, *chunks)


def chromaticities(number: int) -> bytes:
    red, green, blue, white = PRIMARIES[number]
    return struct.pack(">8I", *(round(100_000 * v) for point in (white, red, green, blue) for v in point))


# PNG


# HLG is defined on the primaries of BT.2020.
@pytest.mark.parametrize(
    ("primaries", "transfer"), [(p, t) for p in (1, 9, 12) for t in CURVES if p == 9 or t != 18]
)
def test_cicp_of_a_png_is_honoured(primaries: int, transfer: int) -> None:
    data = png_with(
        deep(CURVES[transfer](in_primaries(primaries))), (b"cICP", bytes([primaries, transfer, 0, 1]))
    )
    image = open_media(data)
    assert difference(image.pixels) < 0.6
    assert image.warnings == ()


def test_cicp_in_the_narrow_range_is_widened() -> None:
    samples = deep((16 + 219 * srgb(in_primaries(12))) / 255)
    assert difference(open_media(png_with(samples, (b"cICP", bytes([12, 13, 0, 0])))).pixels) < 0.6


def test_cicp_counts_for_more_than_gama_and_a_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    samples = deep(srgb(in_primaries(12)))
    cicp, gama = (b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 100_000))
    data = png_with(samples, cicp, gama, (b"iCCP", b"x\x00\x00" + zlib.compress(profile)))
    assert difference(open_media(data).pixels) < 0.6


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.2, 2.6])
@pytest.mark.parametrize("primaries", [9, 12])
def test_gama_and_chrm_are_honoured(exponent: float, primaries: int) -> None:
    samples = deep(in_primaries(primaries) ** (1 / exponent))
    gama = (b"gAMA", struct.pack(">I", round(100_000 / exponent)))
    data = png_with(samples, gama, (b"cHRM", chromaticities(primaries)))
    assert difference(open_media(data).pixels) < 0.6


def test_srgb_counts_for_more_than_gama_and_chrm() -> None:
    samples = deep(SOURCE / 255)
    marks = (b"sRGB", b"\x00"), (b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", chromaticities(9))
    assert np.array_equal(open_media(png_with(samples, *marks)).pixels, SOURCE)


def test_the_gama_and_chrm_that_every_program_writes_for_srgb_change_nothing() -> None:
    samples = deep(SOURCE / 255)
    marks = (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", chromaticities(1))
    assert np.array_equal(open_media(png_with(samples, *marks)).pixels, SOURCE)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"gAMA", bytes(4)),
        (b"gAMA", b"\x00"),
        (b"cHRM", bytes(32)),
        (b"cICP", b"\x0c"),
        (b"cICP", b"\xff\xff\x00\x01"),
    ],
)
def test_numbers_that_make_no_sense_are_left_out_and_named(chunk: tuple[bytes, bytes]) -> None:
    image = open_media(png_with(deep(SOURCE / 255), chunk))
    assert np.array_equal(image.pixels, SOURCE)
    assert image.warnings == ("metadata_partial",)


def test_a_palette_and_grey_follow_gama_too() -> None:
    grey = SOURCE[:, :, 0]
    gama = (b"gAMA", struct.pack(">I", 100_000))
    data = png_with(deep(linear(grey)), gama)
    assert difference(open_media(data).pixels, np.repeat(grey[:, :, None], 3, 2)) < 0.5
    rows = b"".join(b"\x00" + bytes([0, 1] * 16) for _ in range(32))
    palette = (b"PLTE", bytes([0, 0, 0, 55, 55, 55]))
    pixels = open_media(png((32, 32, 8, 3), rows, palette, gama)).pixels
    assert pixels[0, 1].tolist() == [128, 128, 128]  # 55/255 of the light of white


# HDR


def test_highlights_are_rolled_off_and_never_reversed() -> None:
    light = np.repeat(np.linspace(0, 8, 64 * 64).reshape(64, 64, 1), 3, axis=2)
    data = png_with(deep(pq(light)), (b"cICP", bytes([9, 16, 0, 1])))
    levels = open_media(data).pixels[:, :, 0].ravel().astype(int)
    assert (np.diff(levels) >= 0).all()
    assert levels[-1] == 255
    at_white = levels[int(64 * 64 / 8)]
    assert abs(at_white - 255 * srgb(np.array((1 + 1 / 8**2) / 2))) < 2  # Reinhard's equation 4 at 1, peak 8


def test_a_spark_does_not_darken_a_picture() -> None:
    light = in_primaries(9)
    light[0, 0] = 40
    data = png_with(deep(pq(light)), (b"cICP", bytes([9, 16, 0, 1])))
    assert difference(open_media(data).pixels[1:], SOURCE[1:]) < 0.6


# AVIF


def avif(primaries: int, transfer: int, maximum: int) -> bytes:
    samples = deep(CURVES[transfer](in_primaries(primaries)), maximum)
    data = bytes(
        imagecodecs.avif_encode(
            samples if maximum > 255 else samples.astype(np.uint8),
            level=100,
            bitspersample=maximum.bit_length(),
            pixelformat="444",
            primaries=primaries,
            transfer=transfer,
        )
    )
    assert struct.pack(">4sHH", b"nclx", primaries, transfer) in data
    return data


@pytest.mark.parametrize(
    ("primaries", "transfer", "maximum"),
    [(12, 13, 255), (9, 13, 1023), (12, 13, 4095), (9, 16, 1023), (9, 16, 4095), (9, 18, 1023), (1, 8, 1023)],
)
def test_cicp_of_an_avif_is_honoured(primaries: int, transfer: int, maximum: int) -> None:
    assert difference(open_media(avif(primaries, transfer, maximum)).pixels) < 2.5


# JPEG XL: imagecodecs writes 8 bits as sRGB and more bits as linear light; `test_cases` has other spaces


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_samples_of_a_jpeg_xl_are_scaled_by_the_bits_it_states(bits: int) -> None:
    maximum = 2**bits - 1
    samples = SOURCE if bits == 8 else deep(linear(SOURCE), maximum)
    data = bytes(imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=bits))
    exact = np.rint(255 * srgb(np.rint(linear(SOURCE) * maximum) / maximum)).astype(np.uint8)
    assert difference(open_media(data).pixels, SOURCE if bits == 8 else exact) < 0.01


def test_floats_of_a_jpeg_xl_are_levels_of_its_space() -> None:
    data = bytes(imagecodecs.jpegxl_encode(linear(SOURCE).astype(np.float32), lossless=True))
    assert difference(open_media(data).pixels) < 0.2


def test_a_lossy_jpeg_xl_is_near_its_source() -> None:
    for samples in (SOURCE, deep(linear(SOURCE))):
        assert difference(open_media(bytes(imagecodecs.jpegxl_encode(samples, distance=0.5))).pixels) < 1.5


# Alpha


def saved(image: Pil.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF", "JXL", "ICO"])
def test_alpha_that_is_zero_everywhere_is_none(format: str) -> None:
    rgba = np.dstack([SOURCE[:48, :48], np.zeros((48, 48), np.uint8)])
    if format == "JXL":
        data = bytes(imagecodecs.jpegxl_encode(rgba, lossless=True))
    else:
        options: dict[str, dict[str, Any]] = {
            "WEBP": {"lossless": True, "exact": True},
            "AVIF": {"quality": 100, "subsampling": "4:4:4"},
            "ICO": {"sizes": [(48, 48)]},
        }
        data = saved(Pil.fromarray(rgba), format, **options.get(format, {}))
    assert difference(open_media(data).pixels, SOURCE[:48, :48]) < 1.5


def test_a_bmp_whose_fourth_byte_is_unused_is_opaque() -> None:
    rgba = np.dstack([SOURCE, np.zeros(SOURCE.shape[:2], np.uint8)])
    assert np.array_equal(open_media(saved(Pil.fromarray(rgba), "BMP")).pixels, SOURCE)


# Spaces


def test_the_spaces_that_are_srgb_by_other_numbers_are_known_as_srgb() -> None:
    for numbers in ((1, 13), (2, 2), (1, 1), (1, 6), (0, 0)):
        space = from_cicp(*numbers)
        assert space is not None
        assert space.is_srgb
    assert from_cicp(9, 99) is None
    assert from_cicp(77, 13) is None


def test_white_stays_white_whatever_the_white_point() -> None:
    prophoto = Space(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)), "gamma", 1.8)
    white = np.full((1, 1, 3), 255, np.uint8)
    for space in (prophoto, Space(PRIMARIES[11], "gamma", 2.6), Space(PRIMARIES[4])):
        assert (space.to_srgb(white, 255) >= 254).all()
