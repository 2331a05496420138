"""The first bytes decide; the file's name never does."""

from __future__ import annotations

import pytest

from veridical.media.sniff import describe, refused_size, sniff


@pytest.mark.parametrize(
    ("start", "format"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF87a", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "webp"),
        (b"BM", "bmp"),
        (b"II*\x00", "tiff"),
        (b"MM\x00+", "tiff"),
        (b"\x00\x00\x01\x00", "ico"),
        (b"\xff\x0a", "jxl"),
        (b"\x00\x00\x00\x20ftypavif", "avif"),
        (b"\x00\x00\x00\x20ftypheic", "heic"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "avif"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "heic"),
    ],
)
def test_an_allowed_format_is_known_by_its_magic_number(start: bytes, format: str) -> None:
    assert sniff(start) == format


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"<svg onload='x'>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"<!doctype html><p>", "HTML"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x00\x00\x00\x20ftypisom", "MP4/QuickTime video"),
        (b"RIFF\x00\x00\x00\x00AVI ", "AVI video"),
        (b"ffconcat version 1.0", "FFmpeg script"),
        (b"#EXTM3U", "playlist"),
        (b"plain words", "text"),
        (b"\x00\x01\x02\x03", "unknown bytes"),
    ],
)
def test_a_refused_format_has_a_name_for_the_message(start: bytes, name: str) -> None:
    assert sniff(start) is None
    assert describe(start) == name


def test_the_size_of_a_refused_picture_is_read_where_it_is_stated() -> None:
    assert refused_size(b"qoif" + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")) == (7, 9)
    assert refused_size(b"qoif") is None
    assert refused_size(b"%PDF-1.7") is None
