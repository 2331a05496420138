"""GIF: Pillow, after a walk over the blocks that counts frames and measures them without decoding any."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from veridical.media.formats._pillow import decode_with_pillow
from veridical.media.formats._pixels import Decoded, check_size
from veridical.media.limits import Limits

_EXTENSION, _FRAME, _TRAILER = 0x21, 0x2C, 0x3B


@dataclass
class _Structure:
    """`usable_frames` stops before the first frame that reaches beyond the limits."""

    width: int = 0
    height: int = 0
    frame_count: int = 0
    usable_frames: int = 0
    end: int | None = None


def decode(data: bytes, limits: Limits) -> Decoded:
    """The sampled frames, each as it is seen: composed with those before it."""
    structure = _read_structure(data, limits)
    if structure.frame_count:
        check_size(structure.width, structure.height, limits)
    decoded = decode_with_pillow(
        data,
        "GIF",
        limits,
        frame_count=max(1, structure.frame_count),
        usable_frames=max(1, structure.usable_frames),
    )
    if structure.end and data[structure.end :].strip(b"\x00"):
        return replace(decoded, warnings=(*decoded.warnings, "trailing_data"))
    return decoded


def _read_structure(data: bytes, limits: Limits) -> _Structure:
    structure = _Structure()
    if len(data) < 13:
        return structure
    structure.width, structure.height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _table_bytes(flags)
    fits = True
    while at < len(data):
        kind = data[at]
        if kind == _TRAILER:
            structure.end = at + 1
            break
        if kind == _EXTENSION:
            at = _skip_blocks(data, at + 2)
        elif kind == _FRAME and at + 10 <= len(data):
            left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if structure.frame_count == 0:
                # Pillow widens the canvas to the first frame.
                structure.width = max(structure.width, left + width)
                structure.height = max(structure.height, top + height)
            fits = fits and left + width <= limits.max_side and top + height <= limits.max_side
            fits = fits and (left + width) * (top + height) <= limits.max_pixels
            structure.frame_count += 1
            structure.usable_frames += fits
            at = _skip_blocks(data, at + 11 + _table_bytes(flags))
        else:
            at += 1
    return structure


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
