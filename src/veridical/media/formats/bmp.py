"""BMP: Pillow, whose lazy open reads the header alone."""

from __future__ import annotations

from veridical.media.formats._pillow import decode_with_pillow
from veridical.media.formats._pixels import Decoded
from veridical.media.limits import Limits


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture."""
    return decode_with_pillow(data, "BMP", limits)
