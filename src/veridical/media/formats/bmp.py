"""BMP: Pillow, whose lazy open reads the header alone; the profile of a version 5 header is read here."""

from __future__ import annotations

import struct

from veridical.media.formats._metadata import Metadata
from veridical.media.formats._pillow import decode_with_pillow
from veridical.media.formats._pixels import Decoded
from veridical.media.limits import Limits

_HEADER = 14  # the bytes of the file header, after which offsets count
_VERSION_5 = 124
_EMBEDDED = b"DEBM"


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture."""
    metadata = Metadata()
    metadata.read_icc(_find_profile(data), limits)
    return decode_with_pillow(data, "BMP", limits, metadata=metadata)


def _find_profile(data: bytes) -> bytes:
    if len(data) < _HEADER + _VERSION_5 or int.from_bytes(data[14:18], "little") < _VERSION_5:
        return b""
    if data[70:74] != _EMBEDDED:
        return b""
    offset, size = struct.unpack_from("<II", data, 126)
    return data[_HEADER + offset : _HEADER + offset + size]
