"""Headers of files: format, quantisation tables, kinds of metadata. Nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from veridical.errors import MediaError
from veridical.media.formats._pillow import explain, open_picture, quiet
from veridical.media.limits import DEFAULT_LIMITS, Limits
from veridical.media.sniff import sniff
from veridical.media.sources import read_file

# Formats whose headers Pillow reads in this process. The others are decoded behind a fence only, so that of
# them no more than the format is told.
_PLUGINS = {"bmp": "BMP", "gif": "GIF", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}

_KINDS = {
    "comment": "comment",
    "exif": "exif",
    "icc_profile": "icc",
    "photoshop": "iptc",
    "xmp": "xmp",
    "XML:com.adobe.xmp": "xmp",
}


@dataclass(frozen=True)
class Header:
    """`byte_count` is the length of the file. `quantisation` are the tables of a JPEG, 64 numbers each, row by
    row; empty for other formats. `metadata` are the kinds there are, sorted: `c2pa`, `comment`, `exif`,
    `icc`, `iptc`, `text`, `xmp`.
    """

    format: str
    byte_count: int
    quantisation: tuple[tuple[int, ...], ...] = ()
    metadata: tuple[str, ...] = ()


def read_header(source: bytes | Path, *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """The header of a path or of the bytes of a file; `open_media` says whether the rest is sound.

    Raises `MediaError` for bytes that do not begin like a picture, `SourceError` for a path without bytes.
    """
    data = source if isinstance(source, bytes) else read_file(source, limits)
    format = sniff(data)
    if format is None:
        raise MediaError("This is no picture that can be judged.", code="unsupported_format")
    kinds = {"c2pa"} if b"jumb" in data and b"c2pa" in data else set()
    tables: tuple[tuple[int, ...], ...] = ()
    if format in _PLUGINS:
        image = _open(data, _PLUGINS[format], limits)
        kinds |= _kinds(image)
        tables = _tables(image)
    return Header(format, len(data), tables, tuple(sorted(kinds)))


def _open(data: bytes, plugin: str, limits: Limits) -> Image.Image:
    try:
        with quiet():
            return open_picture(data, plugin, limits)
    except MediaError:
        raise
    except Exception as error:  # decoders raise of every kind, and each becomes a MediaError
        raise explain(error) from error


def _kinds(image: Image.Image) -> set[str]:
    kinds = {kind for key, kind in _KINDS.items() if image.info.get(key)}
    # Of a PNG, `info` holds the text chunks before the pixels under their own keywords.
    if image.format == "PNG" and any(isinstance(v, str) and k not in _KINDS for k, v in image.info.items()):
        kinds.add("text")
    return kinds


def _tables(image: Image.Image) -> tuple[tuple[int, ...], ...]:
    found: dict[int, list[int]] = getattr(image, "quantization", None) or {}
    return tuple(tuple(found[number]) for number in sorted(found))
