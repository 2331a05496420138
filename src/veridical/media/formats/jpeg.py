"""JPEG and the first picture of an MPO: simplejpeg where it is exact, Pillow for CMYK and damaged files."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.formats._colour import decoded_from
from veridical.media.formats._metadata import Metadata, is_sound_ifd
from veridical.media.formats._pixels import Decoded, check_size
from veridical.media.limits import Limits

# The last fill byte of a marker and its code; not a stuffed 0xFF in the data of a scan, not a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOI, _EOI, _SOS, _APP1, _APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_ICC = b"ICC_PROFILE\x00"
_PADDING = b"\x00\xff\r\n"


@dataclass
class _Structure:
    """The content of the markers, from the first to the end of the picture."""

    width: int = 0
    height: int = 0
    precision: int = 0
    components: int = 0
    scans: int = 0
    multi_picture: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    icc_parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, exact: no fast DCT, no fast upsampling, no scaled decoding."""
    structure = _read_structure(data, limits)
    check_size(structure.width, structure.height, limits)
    if structure.scans > limits.max_jpeg_scans:
        raise MediaError(f"The picture comes in more than {limits.max_jpeg_scans} scans.", code="too_large")
    decoded = _decode_exact(data, structure)
    if decoded is None:
        from veridical.media.formats._pillow import decode_with_pillow

        decoded = decode_with_pillow(data, "JPEG", limits, metadata=structure.metadata)
    if not structure.multi_picture and structure.end and data[structure.end :].strip(_PADDING):
        return replace(decoded, warnings=(*decoded.warnings, "trailing_data"))
    return decoded


def _decode_exact(data: bytes, structure: _Structure) -> Decoded | None:
    """The picture from simplejpeg, or `None` where Pillow has to look."""
    if structure.precision != 8 or structure.components not in (1, 3) or structure.end is None:
        return None
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != (structure.width, structure.height):
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "GRAY" if structure.components == 1 else "RGB")
    except ValueError:
        return None
    return decoded_from(pixels, structure.metadata)


def _read_structure(data: bytes, limits: Limits) -> _Structure:
    structure = _Structure()
    at = 2
    while match := _MARKER.search(data, at):
        code, start = data[match.start() + 1], match.end()
        if structure.scans == 0 and data[at : match.start()].strip(b"\xff"):
            structure.metadata.partial = True  # bytes between segments: some metadata has a wrong length
        if code == _EOI:
            structure.end = start
            break
        if code in (_SOI, 0x01):
            at = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        if length < 2 or start + length > len(data):
            break
        _read_segment(code, data[start + 2 : start + length], structure, limits)
        at = start + length
    _join_icc(structure, limits)
    return structure


def _read_segment(code: int, body: bytes, structure: _Structure, limits: Limits) -> None:
    metadata = structure.metadata
    if code in _FRAMES and len(body) >= 6 and not structure.width:
        structure.precision, structure.height, structure.width, structure.components = struct.unpack_from(
            ">BHHB", body
        )
    elif code == _SOS:
        structure.scans += 1
    elif code == _APP1 and body.startswith(b"Exif\x00"):
        metadata.read_exif(body, limits)
    elif code == _APP1 and body.startswith(_XMP):
        metadata.read_xmp(body.removeprefix(_XMP), limits)
    elif code == _APP2 and body.startswith(_ICC) and len(body) >= len(_ICC) + 2:
        structure.icc_parts.setdefault(body[len(_ICC)], body[len(_ICC) + 2 :])
    elif code == _APP2 and body.startswith(b"MPF\x00"):
        structure.multi_picture = True
        metadata.partial |= not is_sound_ifd(body[4:])


def _join_icc(structure: _Structure, limits: Limits) -> None:
    numbers = sorted(structure.icc_parts)
    if numbers != list(range(1, len(numbers) + 1)):
        structure.metadata.partial = True
        return
    structure.metadata.read_icc(b"".join(structure.icc_parts[number] for number in numbers), limits)
