"""Metadata that the pixels need: the orientation and the colour profile.

Metadata never stop a picture from being judged: what cannot be read is left out and `partial` says so.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from veridical.media.limits import Limits

PARTIAL = "metadata_partial"

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_SHORT, _LONG, _IFD = 3, 4, 13
_ORIENTATION = 0x0112
_POINTERS = {0x8769, 0x8825, 0xA005}
_ENTITY = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass
class Metadata:
    """Orientation (1-8), ICC profile, and whether some metadata could not be read."""

    orientation: int = 1
    icc: bytes | None = None
    partial: bool = False

    def read_exif(self, block: bytes, limits: Limits) -> None:
        """Take the orientation from an EXIF block (with or without its `Exif` prefix)."""
        if len(block) > limits.max_text_bytes:
            self.partial = True
            return
        try:
            orientation = _Exif(block.removeprefix(b"Exif\x00\x00")).orientation()
        except (struct.error, ValueError):
            self.partial = True
            return
        if orientation > 8:
            self.partial = True
        elif orientation >= 1:
            self.orientation = orientation

    def read_xmp(self, packet: bytes, limits: Limits) -> None:
        """Nothing is taken from XMP; a packet that declares entities is named as dropped."""
        if len(packet) > limits.max_text_bytes or _ENTITY.search(packet.replace(b"\x00", b"")):
            self.partial = True

    def read_icc(self, profile: bytes, limits: Limits) -> None:
        """Keep the profile, if it is of a believable size."""
        if not profile:
            return
        if len(profile) > limits.max_icc_bytes or profile[36:40] != b"acsp":
            self.partial = True
        else:
            self.icc = profile


def is_sound_ifd(block: bytes) -> bool:
    """Whether a TIFF structure (EXIF, the index of an MPO) can be read from its header to its last entry."""
    try:
        _Exif(block).orientation()
    except (struct.error, ValueError):
        return False
    return True


class _Exif:
    """A TIFF structure, walked once; raises ValueError or struct.error at the first thing that is wrong."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        orders = {b"II*\x00": "<", b"MM\x00*": ">"}
        if block[:4] not in orders:
            raise ValueError("no TIFF header")
        self.order = orders[block[:4]]
        self.seen: set[int] = set()

    def orientation(self) -> int:
        """The value of the orientation tag, 1 if there is none; 0 stands for "not stated" as in the wild."""
        return self._walk(struct.unpack_from(self.order + "I", self.block, 4)[0])

    def _walk(self, offset: int) -> int:
        if offset in self.seen:
            raise ValueError("a directory that contains itself")
        self.seen.add(offset)
        orientation = 1
        (count,) = struct.unpack_from(self.order + "H", self.block, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(self.order + "HHI", self.block, entry)
            if kind not in _TYPE_BYTES:
                raise ValueError(f"tag {tag} of type {kind}")
            size = _TYPE_BYTES[kind] * number
            (value,) = struct.unpack_from(self.order + "I", self.block, entry + 8)
            if size > 4 and value + size > len(self.block):
                raise ValueError(f"tag {tag} lies outside")
            if tag in _POINTERS:
                if kind not in (_LONG, _IFD):
                    raise ValueError(f"tag {tag} is no pointer")
                self._walk(value)
            elif tag == _ORIENTATION:
                orientation = self._short(entry + 8) if kind == _SHORT and number == 1 else 99
        return orientation

    def _short(self, offset: int) -> int:
        value: int = struct.unpack_from(self.order + "H", self.block, offset)[0]
        return value
