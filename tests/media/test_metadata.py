"""Metadata are read entry by entry, the first block of a kind counts, and the bytes come back as they are."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms

from veridical.media import open_media

PIXELS: NDArray[np.uint8] = np.kron(
    np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)
)
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF"]


def saved(format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Pil.fromarray(PIXELS).save(stream, format, **options)
    return stream.getvalue()


def exif(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of (tag, type, count, four bytes of value) and nothing else."""
    start = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack(order + "HHI", tag, kind, count) + value
    return b"Exif\x00\x00" + start + struct.pack(order + "I", 8) + directory + bytes(4)


def turned(value: bytes = struct.pack("<HH", 6, 0), kind: int = 3) -> tuple[int, int, int, bytes]:
    return 0x0112, kind, 1, value


FAR = struct.pack("<I", 0xFFFFFF)
BROKEN = {
    "an offset beyond the block": (0x010F, 2, 20, FAR),
    "type 0": (0x0110, 0, 1, bytes(4)),
    "type 77": (0x0110, 77, 1, bytes(4)),
    "a GPS pointer to nowhere": (0x8825, 4, 1, FAR),
    "an Exif pointer to nowhere": (0x8769, 4, 1, FAR),
    "a pointer that is no pointer": (0x8769, 2, 1, bytes(4)),
    "a pointer to itself": (0x8825, 4, 1, struct.pack("<I", 8)),
    "a count of billions": (0x0110, 2, 0xFFFFFFFF, FAR),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])  # AVIF turns in its container, not in EXIF
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("first", [True, False])
def test_a_broken_entry_costs_that_entry_and_not_the_orientation(format: str, broken: str, first: bool) -> None:
    entries = (BROKEN[broken], turned()) if first else (turned(), BROKEN[broken])
    image = open_media(saved(format, exif=exif(*entries)))
    assert (image.width, image.height) == (40, 56)
    assert image.warnings == ("metadata_partial",)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("kind", "order", "value"),
    [(3, "<", b"\x06\x00\x00\x00"), (4, "<", b"\x06\x00\x00\x00"), (1, "<", b"\x06\x00\x00\x00")]
    + [(3, ">", b"\x00\x06\x00\x00"), (4, ">", b"\x00\x00\x00\x06"), (1, ">", b"\x06\x00\x00\x00")],
)
def test_the_orientation_is_read_in_whole_numbers_of_any_width(
    format: str, kind: int, order: str, value: bytes
) -> None:
    image = open_media(saved(format, exif=exif(turned(value, kind), order=order)))
    assert (image.width, image.height, image.warnings) == (40, 56, ())


def test_a_directory_that_is_cut_keeps_the_entries_before_the_cut() -> None:
    block = exif(turned(), (0x010F, 2, 4, b"abc\x00"), (0x0110, 2, 4, b"abc\x00"))
    image = open_media(saved("JPEG", exif=block[:-10]))
    assert (image.width, image.height, image.warnings) == (40, 56, ("metadata_partial",))


def test_of_two_exif_blocks_the_first_counts() -> None:
    upright, on_its_side = exif(turned(b"\x01\x00\x00\x00")), exif(turned())
    for first, second, size in ((upright, on_its_side, (56, 40)), (on_its_side, upright, (40, 56))):
        data = saved("JPEG", exif=first)
        segment = b"\xff\xe1" + struct.pack(">H", len(second) + 2) + second
        at = data.index(b"\xff\xdb")
        image = open_media(data[:at] + segment + data[at:])
        assert (image.width, image.height) == size
        assert image.metadata.exif == first[6:]


def test_a_block_that_is_no_exif_does_not_hide_the_next_one() -> None:
    data = saved("JPEG", exif=exif(turned()))
    segment = b"\xff\xe1" + struct.pack(">H", 20) + b"Exif\x00\x00" + b"?" * 12
    image = open_media(data[:2] + segment + data[2:])
    assert (image.width, image.height, image.warnings) == (40, 56, ("metadata_partial",))


# The blocks as read


@pytest.mark.parametrize("format", FORMATS)
def test_the_blocks_come_back_byte_for_byte(format: str) -> None:
    block = exif((0x010F, 2, 4, b"abc\x00"))
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {"exif": block, "icc_profile": profile}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    else:
        options["xmp"] = xmp
    metadata = open_media(saved(format, **options)).metadata
    assert (metadata.exif, metadata.xmp, metadata.icc) == (block[6:], xmp, profile)


def test_a_tiff_gives_its_packet_and_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    Pil.fromarray(PIXELS).save(stream, "TIFF", icc_profile=profile, tiffinfo={700: b"<x:xmpmeta/>"})
    metadata = open_media(stream.getvalue()).metadata
    assert (metadata.exif, metadata.xmp, metadata.icc) == (None, b"<x:xmpmeta/>", profile)


def test_a_file_without_metadata_has_none() -> None:
    metadata = open_media(saved("PNG")).metadata
    assert (metadata.exif, metadata.xmp, metadata.icc) == (None, None, None)


# What follows a photograph and belongs to it


GAIN_MAP = b"<x:xmpmeta xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'/>"
MOTION = b"<x:xmpmeta xmlns:GCamera='http://ns.google.com/photos/1.0/camera/' GCamera:MotionPhoto='1'/>"
CLIP = b"\x00\x00\x00\x18ftypmp42" + bytes(12) + b"\x00\x00\x00\x10mdat" + bytes(8)


@pytest.mark.parametrize(
    ("xmp", "companion"),
    [
        (GAIN_MAP, saved("JPEG")),
        (MOTION, CLIP),
        (b"", CLIP),
        (b"", b"\x00\x00\x30\x0aImage_UTC_Data" + bytes(20) + b"SEFT"),
    ],
    ids=["an Ultra HDR gain map", "a motion photo", "a clip without a word", "a Samsung trailer"],
)
def test_a_companion_of_a_photograph_is_no_trailing_data(xmp: bytes, companion: bytes) -> None:
    options: dict[str, Any] = {"xmp": xmp} if xmp else {}
    alone = saved("JPEG", **options)
    image = open_media(alone + companion)
    assert image.warnings == ()
    assert np.array_equal(image.pixels, open_media(alone).pixels)


def test_a_second_picture_without_a_word_is_trailing_data() -> None:
    assert open_media(saved("JPEG") + saved("PNG")).warnings == ("trailing_data",)
