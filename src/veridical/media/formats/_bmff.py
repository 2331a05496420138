"""The boxes of a HEIC or AVIF file on its primary picture: colour in numbers (nclx), and gain maps.

Only what decoders do not hand on is read here (ISO/IEC 14496-12 and 23008-12).
"""

from __future__ import annotations

from collections.abc import Iterator

from veridical.media.formats._hevc import read_colour_description
from veridical.media.formats._spaces import Space, from_cicp

_MAX_BOXES = 10_000
_COLOURED = (b"colr", b"hvcC")


def primary_space(data: bytes) -> Space | None:
    """The colour space in numbers of the primary picture, or of the first track; `None` where none is stated.

    Only where no profile is stated does it count: the profile says more.
    """
    found = list(_colour_properties(data))
    # Range and matrix are the decoder's work: what it gives is RGB of the full range.
    for name, body in found:
        if name == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            return from_cicp(int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big"))
    for name, body in found:
        if name == b"hvcC" and (numbers := read_colour_description(body)):
            return from_cicp(*numbers)
    return None


def is_cut(data: bytes) -> bool:
    """Whether a box says that it goes on after the end of the file."""
    start = 0
    for _ in range(_MAX_BOXES):
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        if start + 8 > len(data) or size < header:
            return False
        start += size
        if start > len(data):
            return True
    return False


def without_gain_map(data: bytes) -> bytes | None:
    """The file with its gain map hidden from decoders, in as many bytes; `None` where it has none."""
    found = [at for at in _find_all(data, b"tmap") if at < 65536]
    if not found:
        return None
    hidden = bytearray(data)
    for at in found:
        hidden[at : at + 4] = b"free"
    return bytes(hidden)


def _find_all(data: bytes, name: bytes) -> Iterator[int]:
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, name, header = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        stop = end if size == 0 else min(start + size, end)
        if stop < start + header:
            return
        yield name, start + header, stop
        start = stop


def _child(data: bytes, start: int, end: int, *names: bytes) -> tuple[int, int] | None:
    """The place of the content of the box that these names lead to."""
    for name in names:
        found = next(((a, b) for box, a, b in boxes(data, start, end) if box == name), None)
        if found is None:
            return None
        start, end = found
        if name == b"meta":
            start += 4
    return start, end


def _colour_properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the properties that can state colours."""
    meta = _child(data, 0, len(data), b"meta")
    if meta:
        yield from _properties(data, *meta)
    entries = _child(data, 0, len(data), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    if entries:
        for _, start, end in boxes(data, entries[0] + 8, entries[1]):
            for name, a, b in boxes(data, start + 78, end):  # after the fields of a VisualSampleEntry
                if name in _COLOURED:
                    yield name, data[a:b]


def _properties(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Those of the primary item; of a grid also those of its first tile."""
    primary, container, table = (
        _child(data, start, end, *path) for path in ((b"pitm",), (b"iprp", b"ipco"), (b"iprp", b"ipma"))
    )
    if not (primary and container and table):
        return
    width = 2 if data[primary[0]] == 0 else 4
    item = int.from_bytes(data[primary[0] + 4 : primary[0] + 4 + width], "big")
    properties = list(boxes(data, *container))
    associations = _associations(data, *table)
    for one in (item, *_tiles(data, start, end, item)):
        numbers = [number for number in associations.get(one, ()) if 0 < number <= len(properties)]
        for name, a, b in (properties[number - 1] for number in numbers):
            if name in _COLOURED:
                yield name, data[a:b]


def _associations(data: bytes, start: int, end: int) -> dict[int, list[int]]:
    """Of each item the numbers, from 1, of its properties."""
    version, is_wide = data[start], data[start + 3] & 1
    count, at = int.from_bytes(data[start + 4 : start + 8], "big"), start + 8
    found: dict[int, list[int]] = {}
    for _ in range(min(count, _MAX_BOXES)):
        width = 2 if version == 0 else 4
        if at + width + 1 > end:
            break
        item, entries = int.from_bytes(data[at : at + width], "big"), data[at + width]
        at += width + 1
        step, mask = (2, 0x7FFF) if is_wide else (1, 0x7F)
        numbers = [
            int.from_bytes(data[at + step * i : at + step * (i + 1)], "big") & mask for i in range(entries)
        ]
        found.setdefault(item, []).extend(numbers)
        at += step * entries
    return found


def _tiles(data: bytes, start: int, end: int, item: int) -> list[int]:
    references = _child(data, start, end, b"iref")
    if references is None:
        return []
    width = 2 if data[references[0]] == 0 else 4
    for name, a, _ in boxes(data, references[0] + 4, references[1]):
        if name == b"dimg" and int.from_bytes(data[a : a + width], "big") == item:
            first = a + width + 2
            return [int.from_bytes(data[first : first + width], "big")]
    return []
