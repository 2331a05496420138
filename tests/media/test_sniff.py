"""The first bytes decide; the file's name never does."""

from __future__ import annotations

import struct

import pytest

from veridical.errors import MediaError
from veridical.media import open_media
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


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (struct.pack("<Q", 200) + b'{"__metadata__":{}}', "safetensors checkpoint"),
        (b"PK\x03\x04" + bytes(26) + b"archive/data.pkl", "PyTorch checkpoint"),
        (b"PK\x03\x04" + bytes(26) + b"model_v1/data.pkl", "PyTorch checkpoint"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "Python pickle, perhaps a PyTorch checkpoint"),
        (b"\x80\x04\x95\x00\x00", "Python pickle, perhaps a PyTorch checkpoint"),
        (b"GGUF\x03\x00\x00\x00", "GGUF checkpoint"),
        (b"\x08\x08\x12\x07pytorch", "ONNX model"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file, perhaps a Keras checkpoint"),
        (b"PK\x03\x04" + bytes(26) + b"word/document.xml", "ZIP archive"),
    ],
)
def test_checkpoints_are_named_as_what_they_are(data: bytes, name: str) -> None:
    assert sniff(data) is None
    assert describe(data) == name
    with pytest.raises(MediaError, match=name):
        open_media(data)
