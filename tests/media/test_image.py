"""Pictures of known pixels come out as these pixels: exact, upright, 8-bit sRGB, three channels."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms

from veridical.errors import MediaError, MissingExtraError
from veridical.extras import install_command
from veridical.media import Limits, open_media

Pixels = NDArray[np.uint8]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> Pixels:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels: Pixels = np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)
    return pixels


def saved(image: Pil.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def as_pillow_gives(data: bytes) -> Pixels:
    with Pil.open(io.BytesIO(data)) as image:
        pixels: Pixels = np.asarray(image.convert("RGB"))
        return pixels


def over_grey(rgba: Pixels) -> Pixels:
    """The definition, in exact integers: colour * a + 128 * (1 - a), rounded to nearest."""
    colour, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    laid: Pixels = ((2 * (colour * alpha + 128 * (255 - alpha)) + 255) // 510).astype(np.uint8)
    return laid


def png(header: tuple[int, int, int, int], rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from (width, height, depth, colour type), raw rows with filter bytes, and chunks before these."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    ihdr = struct.pack(">IIBBBBB", *header, 0, 0, 0)
    body = b"".join(chunk(name, data) for name, data in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + body + end


# What comes back


def test_an_image_is_read_only_contiguous_and_hashed() -> None:
    data = saved(
        Pil.fromarray(noise(40, 50)),
        "PNG",
    )
    image = open_media(data)
    assert (image.width, image.height, image.format) == (50, 40, "png")
    assert image.pixels.flags.c_contiguous
    assert not image.pixels.flags.writeable
    assert image.pixels.dtype == np.uint8
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert (image.frame_indices, image.frame_count, image.warnings) == ((0,), 1, ())


def test_a_path_a_string_and_bytes_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "no_extension"
    path.write_bytes(saved(Pil.fromarray(smooth(40, 50)), "JPEG"))
    from_bytes = open_media(path.read_bytes())
    for source in (path, str(path)):
        assert np.array_equal(open_media(source).pixels, from_bytes.pixels)


# Exactness


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(32, 80),
    width=st.integers(32, 80),
    grey=st.booleans(),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
)
def test_jpeg_equals_pillow_bit_for_bit(
    height: int, width: int, grey: bool, quality: int, subsampling: int, progressive: bool
) -> None:
    image = Pil.fromarray(noise(height, width, 1 if grey else 3))
    data = saved(image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    assert np.array_equal(open_media(data).pixels, as_pillow_gives(data))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(32, 70), width=st.integers(32, 70), channels=st.integers(1, 4))
def test_png_gives_the_pixels_that_were_saved(height: int, width: int, channels: int) -> None:
    pixels = noise(height, width, channels)
    image = Pil.fromarray(pixels)
    rgba = np.asarray(image.convert("RGBA"))
    assert np.array_equal(open_media(saved(image, "PNG")).pixels, over_grey(rgba))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(32, 70), width=st.integers(32, 70), quality=st.integers(1, 100))
def test_lossy_webp_equals_pillow_bit_for_bit(height: int, width: int, quality: int) -> None:
    data = saved(Pil.fromarray(noise(height, width)), "WEBP", quality=quality)
    assert np.array_equal(open_media(data).pixels, as_pillow_gives(data))


def test_lossless_formats_give_the_pixels_that_were_saved() -> None:
    pixels = noise(45, 61)
    image = Pil.fromarray(pixels)
    files = {
        "webp": saved(image, "WEBP", lossless=True),
        "bmp": saved(image, "BMP"),
        "tiff": saved(image, "TIFF", compression="tiff_lzw"),
        "jxl": bytes(imagecodecs.jpegxl_encode(pixels, lossless=True)),
    }
    for format, data in files.items():
        opened = open_media(data)
        assert opened.format == format
        assert np.array_equal(opened.pixels, pixels), format


def test_the_largest_picture_of_an_icon_is_taken() -> None:
    pixels = noise(48, 48, 4)
    pixels[..., 3] = 255
    data = saved(Pil.fromarray(pixels), "ICO", sizes=[(16, 16), (48, 48)])
    assert np.array_equal(open_media(data).pixels, pixels[..., :3])


# Colour


def test_16_bits_become_8_by_rounding() -> None:
    samples = np.linspace(0, 65535, 32 * 2048).astype(np.uint16).reshape(32, 2048)
    expected = np.floor(samples / 257 + 0.5).astype(np.uint8)
    grey = np.repeat(expected[:, :, None], 3, 2)
    colour = np.repeat(samples[:, :, None], 3, 2)
    assert np.array_equal(open_media(bytes(imagecodecs.png_encode(samples))).pixels, grey)
    assert np.array_equal(open_media(bytes(imagecodecs.png_encode(colour))).pixels, grey)
    assert np.array_equal(open_media(saved(Pil.fromarray(samples), "TIFF")).pixels, grey)


def test_cmyk_without_a_profile_follows_the_stated_formula() -> None:
    cmyk = np.zeros((40, 40, 4), np.uint8)
    cmyk[:20, :20] = (255, 0, 0, 0)
    cmyk[:20, 20:] = (0, 100, 0, 55)
    cmyk[20:, :20] = (0, 0, 0, 255)
    data = saved(Pil.frombytes("CMYK", (40, 40), cmyk.tobytes()), "TIFF")
    pixels = open_media(data).pixels
    assert pixels[0, 0].tolist() == [0, 255, 255]
    assert pixels[0, 39].tolist() == [200, round((255 - 100) * (255 - 55) / 255), 200]
    assert pixels[39, 0].tolist() == [0, 0, 0]
    assert pixels[39, 39].tolist() == [255, 255, 255]


def test_a_cmyk_jpeg_is_near_the_picture_it_was_made_of() -> None:
    image = Pil.fromarray(smooth(64, 64))
    pixels = open_media(saved(image.convert("CMYK"), "JPEG", quality=95)).pixels
    assert np.abs(pixels.astype(int) - np.asarray(image)).mean() < 3


def test_a_palette_is_looked_up_and_its_transparency_laid_over_grey() -> None:
    image = Pil.new("P", (40, 40), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (20, 0, 40, 40))
    pixels = open_media(saved(image, "PNG", transparency=1)).pixels
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[0, 39].tolist() == [128, 128, 128]


def test_a_transparent_colour_key_of_16_bits_is_compared_in_16_bits() -> None:
    row = np.array([[0x1234, 0, 0], [0x1235, 0, 0]] * 16, ">u2").tobytes()
    key = struct.pack(">HHH", 0x1234, 0, 0)
    pixels = open_media(png((32, 32, 16, 2), 32 * (b"\x00" + row), (b"tRNS", key))).pixels
    assert pixels[0, 0].tolist() == [128, 128, 128]
    assert pixels[0, 1].tolist() == [round(0x1235 / 257), 0, 0]


def test_alpha_is_laid_over_mid_grey_with_rounding() -> None:
    rgba = np.zeros((32, 256, 4), np.uint8)
    rgba[..., :3] = (255, 0, 90)
    rgba[..., 3] = np.arange(256)
    for data in (
        saved(Pil.fromarray(rgba), "PNG"),
        saved(Pil.fromarray(rgba), "WEBP", lossless=True, exact=True),
    ):
        pixels = open_media(data).pixels
        assert np.array_equal(pixels, over_grey(rgba))
        assert pixels[0, 0].tolist() == [128, 128, 128]
        assert pixels[0, 255].tolist() == [255, 0, 90]


def wide_gamut_profile() -> bytes:
    """sRGB's profile with the red and green primaries exchanged: a conversion that nobody can overlook."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def with_profile(bmp: bytes, profile: bytes) -> bytes:
    """A BMP of 24 bits with a header of version 5, which embeds the profile after the pixels."""
    pixels = bmp[54:]
    size, header = 14 + 124 + len(pixels) + len(profile), bytearray(124)
    header[:40] = struct.pack("<I", 124) + bmp[18:54]
    header[56:60] = b"DEBM"
    struct.pack_into("<II", header, 112, 124 + len(pixels), len(profile))
    return struct.pack("<2sIII", b"BM", size, 0, 138) + bytes(header) + pixels + profile


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP"])
def test_a_colour_profile_is_converted_to_srgb(format: str) -> None:
    image = Pil.fromarray(np.full((300, 40, 3), (200, 60, 30), np.uint8))
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    if format == "AVIF":
        options = {"quality": 100, "subsampling": "4:4:4"}
    data = saved(image, format, icc_profile=wide_gamut_profile(), **options)
    pixels = open_media(with_profile(data, wide_gamut_profile()) if format == "BMP" else data).pixels
    assert np.abs(pixels.astype(int) - (60, 200, 30)).max() <= 3


def test_a_profile_that_is_srgb_leaves_every_pixel_as_it_is() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = noise(40, 40)
    image = open_media(saved(Pil.fromarray(pixels), "PNG", icc_profile=profile))
    assert np.array_equal(image.pixels, pixels)
    assert image.warnings == ()


@pytest.mark.parametrize("damage", [b"not a profile", wide_gamut_profile()[:200]])
def test_a_broken_profile_is_left_out_and_named(damage: bytes) -> None:
    pixels = noise(40, 40)
    image = open_media(saved(Pil.fromarray(pixels), "PNG", icc_profile=damage))
    assert np.array_equal(image.pixels, pixels)
    assert image.warnings == ("metadata_partial",)


# Orientation

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG", "AVIF"])
def test_all_eight_orientations_give_the_same_upright_picture(format: str, orientation: int) -> None:
    upright = np.kron(noise(5, 7), np.ones((8, 8, 1), np.uint8))  # blocks, which JPEG and AVIF keep
    exif = Pil.Exif()
    exif[0x0112] = orientation
    lossy: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": lossy, "AVIF": lossy}.get(format, {})
    stored = Pil.fromarray(np.ascontiguousarray(TURNS[orientation](upright)))
    image = open_media(saved(stored, format, exif=exif, **options))
    assert image.pixels.shape == upright.shape
    tolerance = 12 if format in ("JPEG", "AVIF") else 0
    assert np.abs(image.pixels.astype(int) - upright).max() <= tolerance
    assert image.warnings == ()


def test_an_impossible_orientation_is_left_out_and_named() -> None:
    exif = Pil.Exif()
    exif[0x0112] = 99
    pixels = noise(40, 50)
    image = open_media(saved(Pil.fromarray(pixels), "PNG", exif=exif))
    assert np.array_equal(image.pixels, pixels)
    assert image.warnings == ("metadata_partial",)


@settings(max_examples=100, deadline=None)
@given(block=st.binary(max_size=200), order=st.sampled_from([b"II*\x00", b"MM\x00*", b""]))
def test_no_exif_block_stops_the_picture(block: bytes, order: bytes) -> None:
    pixels = smooth(32, 48)
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    image = open_media(png((48, 32, 8, 2), rows, (b"eXIf", order + block)))
    assert sorted((image.width, image.height)) == [32, 48]


def test_an_xmp_packet_that_declares_entities_is_named_as_dropped() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x:xmpmeta/>'
    data = saved(Pil.fromarray(noise(40, 40)), "JPEG", xmp=bomb)
    assert open_media(data).warnings == ("metadata_partial",)
    assert open_media(saved(Pil.fromarray(noise(40, 40)), "JPEG", xmp=b"<x:xmpmeta/>")).warnings == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_bytes_after_the_picture_are_named(format: str) -> None:
    data = saved(Pil.fromarray(smooth(40, 40)), format)
    assert open_media(data).warnings == ()
    assert open_media(data + b"PK\x03\x04 an archive").warnings == ("trailing_data",)
    assert open_media(data + b"\x00" * 16).warnings == ()


# Animations


def levels(count: int, size: int = 40) -> list[Pil.Image]:
    return [Pil.new("RGB", (size, size), (index * 255 // count, 0, 90)) for index in range(count)]


@pytest.mark.parametrize(
    ("format", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {})]
)
def test_frames_are_sampled_evenly_from_the_first_to_the_last(format: str, options: dict[str, Any]) -> None:
    frames = levels(31)
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)
    image = open_media(data, limits=Limits(max_frames=4))
    assert image.frame_count == 31
    assert image.frame_indices == (0, 10, 20, 30)
    assert image.warnings == ("frames_limited",)
    reds = [int(frame[0, 0, 0]) for frame in image.frames]
    expected = [index * 255 // 31 for index in image.frame_indices]
    assert np.abs(np.subtract(reds, expected)).max() <= (4 if format == "AVIF" else 0)


def test_a_short_animation_is_kept_whole() -> None:
    frames = levels(5)
    image = open_media(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.frame_indices == (0, 1, 2, 3, 4)
    assert image.warnings == ()


def test_the_frames_kept_never_hold_more_pixels_than_one_largest_picture() -> None:
    frames = levels(10, size=100)
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image = open_media(data, limits=Limits(max_pixels=35_000))
    assert image.frame_indices == (0, 4, 9)
    image = open_media(data, limits=Limits(max_animation_pixels=45_000))
    assert image.frame_indices == (0, 1, 2, 3)


def test_an_animation_of_which_a_later_frame_is_cut_off_gives_the_frames_before() -> None:
    frames = [Pil.fromarray(noise(40, 40, seed=index)) for index in range(3)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image = open_media(data[: len(data) * 9 // 10])
    assert image.frame_indices == (0, 1)
    assert image.warnings == ("frames_limited",)


def test_an_animated_jpeg_xl_is_sampled_too() -> None:
    stack = np.stack([np.full((40, 50, 3), 10 * index, np.uint8) for index in range(7)])
    image = open_media(bytes(imagecodecs.jpegxl_encode(stack, lossless=True)), limits=Limits(max_frames=3))
    assert image.frame_indices == (0, 3, 6)
    assert [int(frame[0, 0, 0]) for frame in image.frames] == [0, 30, 60]


def test_the_further_pages_of_a_tiff_are_named_as_left_out() -> None:
    pages = levels(3)
    image = open_media(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert (len(image.frames), image.frame_count, image.warnings) == (1, 3, ("frames_limited",))


# In threads


def test_threads_give_the_same_pixels_and_leave_the_warning_filters_as_they_were() -> None:
    filters = list(warnings.filters)
    files = [saved(Pil.fromarray(noise(60, 60, seed=seed)).convert("CMYK"), "JPEG") for seed in range(4)] * 8
    with ThreadPoolExecutor(8) as pool:
        together = [image.pixels for image in pool.map(open_media, files)]
    assert warnings.filters == filters
    assert all(
        np.array_equal(pixels, open_media(data).pixels) for pixels, data in zip(together, files, strict=True)
    )


# Refusals


def refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(MediaError) as caught:
        open_media(data, limits=limits or Limits())
    return caught.value.code


def test_an_empty_file_a_text_and_a_video_have_their_codes() -> None:
    assert refusal(b"") == "empty_file"
    assert refusal(b"hello, I am text") == "unsupported_format"
    assert refusal(b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2") == "unsupported_format"


def test_the_message_of_a_refusal_names_what_was_seen() -> None:
    with pytest.raises(MediaError, match="SVG"):
        open_media(b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>")


def test_too_small_is_said_of_sound_pictures_only() -> None:
    data = saved(Pil.fromarray(noise(31, 400)), "PNG")
    assert refusal(data) == "too_small"
    assert refusal(data[: len(data) // 2]) == "truncated"
    assert open_media(saved(Pil.fromarray(noise(32, 400)), "PNG")).height == 32


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    data = saved(Pil.fromarray(noise(40, 40)), "PNG")
    (tmp_path / "large.png").write_bytes(data)
    limits = Limits(max_file_bytes=len(data) - 1)
    assert refusal(data, limits) == "body_too_large"
    with pytest.raises(MediaError, match="bytes"):
        open_media(tmp_path / "large.png", limits=limits)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_file_cut_short_is_refused_unless_allowed(format: str) -> None:
    data = saved(Pil.fromarray(noise(200, 200)), format)
    cut = data[: len(data) // 2]
    assert refusal(cut) == "truncated"
    image = open_media(cut, allow_truncated=True)
    assert image.pixels.shape == (200, 200, 3)
    assert "truncated" in image.warnings
    is_there = (image.pixels == open_media(data).pixels).all(axis=2)
    assert is_there.mean() > 0.3


def test_a_missing_extra_is_said_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(MissingExtraError) as caught:
        open_media(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    assert caught.value.code == "unsupported_format"
    assert caught.value.hint == install_command("heic")


def test_a_plain_jpeg_needs_numpy_and_simplejpeg_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Pil.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path.write_bytes(saved(Pil.fromarray(smooth(40, 50)), "JPEG", exif=exif, icc_profile=profile))
    code = (
        "import sys; from veridical.media import find_items; assert 'numpy' not in sys.modules;"
        "from veridical.media import open_media; image = open_media(sys.argv[1]);"
        "print(image.width, *sorted({'PIL', 'imagecodecs', 'numpy', 'simplejpeg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["40", "numpy", "simplejpeg"]
