"""The directories of a TIFF: which pages there are, and what each says of its samples. Nothing is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from veridical.errors import MediaError

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, DIRECTORIES, EXTRA, SAMPLE_FORMAT, DNG_VERSION = (
    274,
    277,
    284,
    330,
    338,
    339,
    50706,
)

XMP, ICC = 700, 34675

_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_PAGES = 1000
_MAX_VALUES = 64

# Colour filter array and linear raw; compressions that only cameras write (Sony, Nikon, Samsung, Pentax).
_RAW_PHOTOMETRIC = {32803, 34892}
_RAW_COMPRESSION = {32767, 34713, 32770, 65535}
_SAME_SHAPE = 0.02
_LEAST_BYTES = 64  # fewer are no picture that was cut off


@dataclass(frozen=True)
class Page:
    """One directory: where it lies, whether in the main chain, its whole-number tags, its XMP and profile."""

    offset: int
    is_main: bool
    tags: dict[int, tuple[int, ...]]
    blocks: dict[int, bytes]

    def first(self, tag: int, otherwise: int) -> int:
        """The first value of a tag."""
        values = self.tags.get(tag)
        return values[0] if values else otherwise

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.first(WIDTH, 0), self.first(HEIGHT, 0)

    @property
    def is_reduced(self) -> bool:
        """Whether the page says that it is a smaller copy of another."""
        return bool(self.first(SUBFILE, 0) & 1) or self.first(OLD_SUBFILE, 1) == 2

    @property
    def is_mask(self) -> bool:
        """Whether the page says that it is the transparency of another."""
        return bool(self.first(SUBFILE, 0) & 4)

    @property
    def is_raw(self) -> bool:
        """Whether the page holds what a camera's sensor saw."""
        return (
            DNG_VERSION in self.tags
            or self.first(PHOTOMETRIC, 0) in _RAW_PHOTOMETRIC
            or self.first(COMPRESSION, 1) in _RAW_COMPRESSION
        )


def read_pages(data: bytes) -> list[Page]:
    """The pages of the main chain, each followed by those inside it; up to the first that is damaged."""
    pages: list[Page] = []
    with suppress(struct.error, ValueError):
        pages.extend(_Directories(data).walk())
    return pages


def is_camera_raw(data: bytes, pages: list[Page]) -> bool:
    """Whether the file is a camera's raw file in the clothes of a TIFF: DNG, NEF, CR2, ARW, PEF and others."""
    return data[8:10] == b"CR" or any(page.is_raw for page in pages)


def is_cut(data: bytes) -> bool:
    """Whether the file ends before its first directory, which most writers put last."""
    directories = _Directories(data)
    try:
        return len(data) > _LEAST_BYTES and directories.start() >= len(data)
    except struct.error:
        return False


def choose_page(pages: list[Page]) -> Page:
    """The page that is the picture: the first, unless it is a smaller copy of another.

    That it is, it says itself, or another of the same shape has at least twice its sides.
    """
    first = pages[0]
    width, height = first.size
    others = [page for page in pages[1:] if not (page.is_reduced or page.is_mask)]
    if first.is_reduced:
        return max(others, key=lambda page: page.size[0] * page.size[1], default=first)
    larger = [page for page in others if page.is_main and _is_enlarged(page.size, (width, height))]
    return max(larger, key=lambda page: page.size[0], default=first)


def beginning_at(data: bytes, page: Page) -> bytes:
    """The file with this page as its first."""
    order = _order(data)
    if data[2:4] in (b"\x2b\x00", b"\x00\x2b"):
        return data[:8] + struct.pack(order + "Q", page.offset) + data[16:]
    return data[:4] + struct.pack(order + "I", page.offset) + data[8:]


def camera_raw() -> MediaError:
    """The refusal of what a camera's sensor saw, and of the preview beside it."""
    return MediaError(
        "This is a camera raw file (DNG, NEF, CR2 or the like); camera raw is not judged.",
        code="unsupported_format",
        hint="Judge the JPEG or HEIC that the camera wrote beside it.",
    )


def _is_enlarged(size: tuple[int, int], small: tuple[int, int]) -> bool:
    if min(small) < 1 or size[0] < 2 * small[0]:
        return False
    return abs(size[1] * small[0] / (size[0] * small[1]) - 1) < _SAME_SHAPE


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


class _Directories:
    """Walks the chain of a classic or a big TIFF; raises struct.error or ValueError where it is damaged."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = _order(data)
        self.is_big = data[2:4] in (b"\x2b\x00", b"\x00\x2b")
        self.seen: set[int] = set()

    def start(self) -> int:
        """The place of the first directory."""
        return self._read("Q", 8) if self.is_big else self._read("I", 4)

    def walk(self) -> Iterator[Page]:
        """All pages, as far as they can be read."""
        offset = self.start()
        while offset and offset not in self.seen and len(self.seen) < _MAX_PAGES:
            page, offset = self._read_page(offset, is_main=True)
            yield page
            for inner in page.tags.get(DIRECTORIES, ()):
                if inner not in self.seen and len(self.seen) < _MAX_PAGES:
                    try:
                        yield self._read_page(inner, is_main=False)[0]
                    except (struct.error, ValueError):
                        continue

    def _read(self, kind: str, at: int) -> int:
        value: int = struct.unpack_from(self.order + kind, self.data, at)[0]
        return value

    def _read_page(self, offset: int, *, is_main: bool) -> tuple[Page, int]:
        self.seen.add(offset)
        count_kind, entry_bytes, offset_kind = ("Q", 20, "Q") if self.is_big else ("H", 12, "I")
        count = self._read(count_kind, offset)
        start = offset + struct.calcsize(count_kind)
        if start + count * entry_bytes > len(self.data):
            raise ValueError("a directory that is cut off")
        tags: dict[int, tuple[int, ...]] = {}
        blocks: dict[int, bytes] = {}
        for at in range(start, start + count * entry_bytes, entry_bytes):
            tag, values = self._read_entry(at, offset_kind)
            if tag in (XMP, ICC):
                blocks.setdefault(tag, self._read_block(at, offset_kind))
            elif values:
                tags.setdefault(tag, values)
        end = start + count * entry_bytes
        following = self._read(offset_kind, end) if end + struct.calcsize(offset_kind) <= len(self.data) else 0
        return Page(offset, is_main, tags, blocks), following

    def _read_block(self, at: int, offset_kind: str) -> bytes:
        _, kind, count = struct.unpack_from(self.order + "HH" + offset_kind, self.data, at)
        start = self._read(offset_kind, at + 4 + struct.calcsize(offset_kind))
        return self.data[start : start + count] if kind in (1, 7) else b""

    def _read_entry(self, at: int, offset_kind: str) -> tuple[int, tuple[int, ...]]:
        tag, kind, count = struct.unpack_from(self.order + "HH" + offset_kind, self.data, at)
        if kind not in _TYPES or count < 1:
            return tag, ()
        value_at = at + 4 + struct.calcsize(offset_kind)
        form = f"{min(count, _MAX_VALUES)}{_TYPES[kind]}"
        if count * struct.calcsize(_TYPES[kind]) > struct.calcsize(offset_kind):
            value_at = self._read(offset_kind, value_at)
        if value_at + struct.calcsize(self.order + form) > len(self.data):
            return tag, ()
        return tag, struct.unpack_from(self.order + form, self.data, value_at)
