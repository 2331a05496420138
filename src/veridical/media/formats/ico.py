"""ICO: the largest picture of the icon, by Pillow; its parts are BMP and PNG, whose sizes are checked first."""

from __future__ import annotations

import struct
import zlib

from veridical.media.formats._pillow import decode_with_pillow
from veridical.media.formats._pixels import Decoded, check_size
from veridical.media.limits import Limits
from veridical.media.sniff import PNG_SIGNATURE


def decode(data: bytes, limits: Limits) -> Decoded:
    """The largest picture."""
    for width, height in _part_sizes(data):
        check_size(width, height, limits)
    return decode_with_pillow(data, "ICO", limits)


def _part_sizes(data: bytes) -> list[tuple[int, int]]:
    """(width, height) that each part states in its own header, which the directory may contradict."""
    sizes = []
    count = int.from_bytes(data[4:6], "little")
    for entry in range(6, min(6 + 16 * count, len(data) - 15), 16):
        (offset,) = struct.unpack_from("<I", data, entry + 12)
        part = data[offset : offset + 33]
        if part.startswith(PNG_SIGNATURE):
            if len(part) == 33 and zlib.crc32(part[12:29]) == int.from_bytes(part[29:], "big"):
                sizes.append((int.from_bytes(part[16:20], "big"), int.from_bytes(part[20:24], "big")))
        elif len(part) >= 12:
            width, height = struct.unpack_from("<ii", part, 4)
            sizes.append((abs(width), abs(height) // 2))
    return sizes
