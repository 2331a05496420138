"""What would take too much memory or time is refused from its header."""

from __future__ import annotations

import io
import resource
import struct
import zlib

import pytest
from PIL import Image as Pil

from veridical.errors import MediaError
from veridical.media import Limits, open_media

SIDE = 30_000


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def plain_pixels(side: int = 64) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes((side + 1) * side)))


def jpeg_of_size(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Pil.new("RGB", (64, 64)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data)


def gif_of_size(width: int, height: int) -> bytes:
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 40, 40, 0x80, 0, 0) + bytes(6) + frame + b";"


def webp_of_size(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = b"WEBPVP8X" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def bmp_of_size(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def ico_of_size(width: int, height: int) -> bytes:
    part = png(width, height)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(part), 22) + part


def tiff_of_size(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Pil.new("L", (64, 64)).save(stream, "TIFF")
    data = bytearray(stream.getvalue())
    directory = struct.unpack_from("<I", data, 4)[0]
    for entry in range(directory + 2, directory + 26, 12):
        tag = struct.unpack_from("<H", data, entry)[0]
        struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(data)


def jxl_of_size(width: int, height: int) -> bytes:
    """The size header alone: not small, 30 bits for each side, no ratio."""
    bits = 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(16, "little")


MAKERS = [
    jpeg_of_size, png, gif_of_size, webp_of_size, bmp_of_size, ico_of_size, tiff_of_size, jxl_of_size,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_a_bomb_is_refused_from_its_header(make: object) -> None:
    assert callable(make)
    data = make(16_383, SIDE) if make is webp_of_size else make(SIDE, SIDE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaError) as caught:
        open_media(data)
    assert caught.value.code == "too_large"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * 2**20


def test_a_side_beyond_the_limit_is_too_large_even_with_few_pixels() -> None:
    with pytest.raises(MediaError) as caught:
        open_media(png(70_000, 40))
    assert caught.value.code == "too_large"


def test_an_animation_whose_second_frame_is_a_bomb_gives_the_first() -> None:
    stream = io.BytesIO()
    Pil.new("P", (40, 40), 3).save(stream, "GIF")
    bomb = struct.pack("<BHHHHB", 0x2C, 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x4c\x01\x00;"
    image = open_media(stream.getvalue()[:-1] + bomb)
    assert (image.frame_indices, image.frame_count) == ((0,), 2)
    assert image.warnings == ("frames_limited",)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_metadata_that_inflate_without_end_are_refused_and_never_inflated(name: bytes) -> None:
    packed = zlib.compress(bytes(300 * 2**20))
    body = b"a\x00\x01\x00\x00\x00" + packed if name == b"iTXt" else b"a\x00\x00" + packed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaError) as caught:
        open_media(png(64, 64, chunk(name, body), plain_pixels()))
    assert caught.value.code == "malformed"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * 2**20


def test_many_texts_that_each_stay_below_the_limit_are_refused_together() -> None:
    text = chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(2**20 - 10)))
    with pytest.raises(MediaError, match="beyond every measure"):
        open_media(png(64, 64, *[text] * 70, plain_pixels()))


def test_a_long_plain_text_is_dropped_and_named() -> None:
    image = open_media(png(64, 64, chunk(b"tEXt", b"a\x00" + b"x" * (2**20 + 1)), plain_pixels()))
    assert image.warnings == ("metadata_partial",)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    stream = io.BytesIO()
    Pil.new("RGB", (64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    at = data.index(b"\xff\xda")
    scan = data[at : data.index(b"\xff", at + 2)]
    with pytest.raises(MediaError) as caught:
        open_media(data[:-2] + scan * 1000 + data[-2:])
    assert caught.value.code == "too_large"


def test_a_png_of_endless_chunks_is_refused() -> None:
    with pytest.raises(MediaError, match="chunks"):
        open_media(png(64, 64, chunk(b"teSt", b"") * 100_001, plain_pixels()), limits=Limits())
