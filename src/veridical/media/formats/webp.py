"""WebP: imagecodecs for still pictures, Pillow for animations and for what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import imagecodecs

from veridical.errors import MediaError
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pixels import Decoded, check_size, turn_upright
from veridical.media.limits import Limits


@dataclass
class _Structure:
    """The chunks of a WebP; a size of 0 is unknown."""

    width: int = 0
    height: int = 0
    frame_count: int = 0
    metadata: Metadata = field(default_factory=Metadata)


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of an animation."""
    structure = _read_structure(data, limits)
    check_size(structure.width, structure.height, limits)
    decoded = _decode_exact(data, structure)
    if decoded is None:
        from veridical.media.formats._pillow import decode_with_pillow

        try:
            decoded = decode_with_pillow(
                data, "WEBP", limits, metadata=structure.metadata, frame_count=max(1, structure.frame_count)
            )
        except (OSError, RuntimeError, SyntaxError) as error:
            if structure.width and 8 + int.from_bytes(data[4:8], "little") > len(data):
                raise MediaError(
                    "The file is damaged: it is shorter than it says.", code="malformed"
                ) from error
            raise
    if data[8 + int.from_bytes(data[4:8], "little") :].strip(b"\x00"):
        return replace(decoded, warnings=(*decoded.warnings, "trailing_data"))
    return decoded


def _decode_exact(data: bytes, structure: _Structure) -> Decoded | None:
    """The picture from imagecodecs, or `None` where Pillow has to look."""
    if structure.frame_count or not structure.width:
        return None
    try:
        pixels = imagecodecs.webp_decode(data)
    except (RuntimeError, ValueError):
        return None
    metadata = structure.metadata
    rgb = turn_upright(array_to_rgb(pixels, metadata), metadata.orientation)
    return Decoded((rgb,), warnings=(PARTIAL,) if metadata.partial else (), metadata=metadata.blocks)


def _read_structure(data: bytes, limits: Limits) -> _Structure:
    structure = _Structure()
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        _read_chunk(name, data[at + 8 : at + 8 + size], structure, limits)
        at += 8 + size + size % 2
    return structure


def _read_chunk(name: bytes, body: bytes, structure: _Structure, limits: Limits) -> None:
    if name == b"ANMF":
        structure.frame_count += 1
    elif name == b"EXIF":
        structure.metadata.read_exif(body, limits)
    elif name == b"XMP ":
        structure.metadata.read_xmp(body, limits)
    elif name == b"ICCP":
        structure.metadata.read_icc(body, limits)
    elif name in (b"VP8X", b"VP8 ", b"VP8L"):
        width, height = _read_size(name, body)
        structure.width, structure.height = max(structure.width, width), max(structure.height, height)


def _read_size(name: bytes, body: bytes) -> tuple[int, int]:
    if name == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return 0, 0
