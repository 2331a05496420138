"""The metadata that pixels need: orientation and colour profile; and the blocks themselves.

Metadata never stop a picture from being judged, and are read entry by entry: what cannot be read is left out
alone, and `partial` says so. Of two blocks of a kind the first counts.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from veridical.media.formats._pixels import MetadataBlocks
from veridical.media.formats._spaces import Space
from veridical.media.limits import Limits

PARTIAL = "metadata_partial"

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_LONG, _IFD = 4, 13
# The types in which writers state the orientation; the standard has SHORT alone.
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
_ORIENTATION = 0x0112
_POINTERS = {0x8769, 0x8825, 0xA005}
_ENTITY = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass
class Metadata:
    """Orientation (1-8), the blocks, and whether some metadata could not be read.

    `space` is what the file states in numbers where that counts for more than a profile, or there is none.
    """

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    space: Space | None = None
    partial: bool = False

    @property
    def blocks(self) -> MetadataBlocks:
        """The blocks as the file holds them."""
        return MetadataBlocks(self.exif, self.xmp, self.icc)

    def read_exif(self, block: bytes, limits: Limits) -> None:
        """Take an EXIF block (with or without its `Exif` prefix) and the orientation in it."""
        if self.exif is not None:
            return
        if len(block) > limits.max_text_bytes:
            self.partial = True
            return
        block = block.removeprefix(b"Exif\x00\x00")
        try:
            exif = _Exif(block)
        except ValueError:
            self.partial = True
            return
        self.exif = block
        self.orientation = exif.orientation
        self.partial |= not exif.is_sound

    def read_exif_apart(self, block: bytes, limits: Limits) -> None:
        """Keep the EXIF block of a format that states the orientation elsewhere (HEIC, JPEG XL)."""
        orientation = self.orientation
        if block:
            self.read_exif(block, limits)
        self.orientation = orientation

    def read_xmp(self, packet: bytes, limits: Limits) -> None:
        """Keep the packet; one that declares entities is dropped and named."""
        if len(packet) > limits.max_text_bytes or _ENTITY.search(packet.replace(b"\x00", b"")):
            self.partial = True
        elif packet and self.xmp is None:
            self.xmp = packet

    def read_icc(self, profile: bytes, limits: Limits) -> None:
        """Keep the profile, if it is of a believable size."""
        if not profile or self.icc is not None:
            return
        if len(profile) > limits.max_icc_bytes or profile[36:40] != b"acsp":
            self.partial = True
        else:
            self.icc = profile


def is_sound_ifd(block: bytes) -> bool:
    """Whether a TIFF structure (EXIF, the index of an MPO) can be read from its header to its last entry."""
    try:
        return _Exif(block).is_sound
    except ValueError:
        return False


class _Exif:
    """A TIFF structure, each entry read on its own; raises ValueError where it does not even begin like one.

    `orientation` is 1-8, and 1 where none is stated (0, too, stands for "not stated" in the wild); `is_sound`
    says whether every entry could be read.
    """

    def __init__(self, block: bytes) -> None:
        self.block = block
        orders = {b"II*\x00": "<", b"MM\x00*": ">"}
        if block[:4] not in orders or len(block) < 8:
            raise ValueError("no TIFF header")
        self.order = orders[block[:4]]
        self.is_sound = True
        self.seen: set[int] = set()
        found = self._walk(struct.unpack_from(self.order + "I", block, 4)[0])
        self.is_sound &= found <= 8
        self.orientation = found if 1 <= found <= 8 else 1

    def _walk(self, offset: int) -> int:
        """The orientation that this directory states, 0 if none; directories within it are only looked at."""
        if offset in self.seen or offset + 2 > len(self.block) or len(self.seen) > len(_POINTERS):
            self.is_sound = False
            return 0
        self.seen.add(offset)
        orientation = 0
        (count,) = struct.unpack_from(self.order + "H", self.block, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            if entry + 12 > len(self.block):
                self.is_sound = False
                break
            tag, kind, number, value = struct.unpack_from(self.order + "HHII", self.block, entry)
            if tag == _ORIENTATION and kind in _WHOLE_NUMBERS and number:
                (stated,) = struct.unpack_from(self.order + _WHOLE_NUMBERS[kind], self.block, entry + 8)
                orientation = orientation or stated
            elif not self._is_sound_entry(tag, kind, number, value):
                self.is_sound = False
            elif tag in _POINTERS:
                self._walk(value)
        return orientation

    def _is_sound_entry(self, tag: int, kind: int, number: int, value: int) -> bool:
        if kind not in _TYPE_BYTES or tag == _ORIENTATION:
            return False
        size = _TYPE_BYTES[kind] * number
        if size > 4 and value + size > len(self.block):
            return False
        return tag not in _POINTERS or kind in (_LONG, _IFD)
