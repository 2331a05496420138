"""JPEG XL: imagecodecs; libjxl turns the picture upright itself, and says what colours it gives."""

from __future__ import annotations

import numpy as np
from imagecodecs import brotli_decode, jpegxl_decode
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.formats._bmff import boxes
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._libjxl import Colour, read_colour
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pillow import LIMITED, cut_short
from veridical.media.formats._pixels import Decoded, check_size, choose_frames, unmultiply
from veridical.media.limits import Limits

_CODESTREAM = b"\xff\x0a"
_TEXTS = (b"Exif", b"xml ")
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of an animation."""
    check_size(*_read_size(data), limits)
    colour = read_colour(data, limits.max_icc_bytes)
    metadata = Metadata(icc=colour.icc, space=colour.space)
    _read_boxes(data, metadata, limits)
    try:
        samples = jpegxl_decode(data, numthreads=1)
    except RuntimeError as error:
        if "NEED_MORE_INPUT" in str(error):
            raise cut_short() from error
        raise MediaError("The file is damaged: its compressed data make no sense.", code="malformed") from error
    frames = samples if _is_stack(samples) else samples[None]
    height, width = frames.shape[1:3]
    wanted = choose_frames(len(frames), width, height, limits)
    kept = tuple(_to_rgb(frames[index], colour, metadata) for index in wanted)
    notes = (metadata.partial, PARTIAL), (len(kept) < len(frames), LIMITED)
    warnings = tuple(note for applies, note in notes if applies)
    return Decoded(kept, wanted, len(frames), warnings, metadata.blocks)


def _is_stack(samples: NDArray[np.generic]) -> bool:
    """Whether the first axis counts frames: libjxl gives (h, w), (h, w, channels), or a stack of those."""
    return samples.ndim == 4 or (samples.ndim == 3 and samples.shape[2] > 4)


def _to_rgb(samples: NDArray[np.generic], colour: Colour, metadata: Metadata) -> NDArray[np.uint8]:
    whole = _to_whole_numbers(samples)
    widest = 8 * whole.dtype.itemsize
    # Whole numbers come as they are stored, floats as 16 bits.
    is_stored = colour.bits and samples.dtype.kind == "u"
    maximum = 2 ** min(colour.bits, widest) - 1 if is_stored else 2**widest - 1
    if colour.is_premultiplied and whole.ndim == 3 and whole.shape[2] in (2, 4):
        whole = unmultiply(whole, maximum)
    return np.ascontiguousarray(array_to_rgb(whole, metadata, maximum))


def _to_whole_numbers(samples: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    if samples.dtype == np.uint16:
        return samples.astype(np.uint16, copy=False)
    levels = np.nan_to_num(samples.astype(np.float32), nan=0.0)
    return np.rint(np.clip(levels, 0, 1) * 65535).astype(np.uint16)


def _read_boxes(data: bytes, metadata: Metadata, limits: Limits) -> None:
    """EXIF and XMP of the container; the orientation stands in the codestream."""
    if data.startswith(_CODESTREAM):
        return
    for name, start, end in boxes(data, 0, len(data)):
        body = data[start:end]
        if name == b"brob":
            name, body = body[:4], _unpack(body[4:], limits.max_text_bytes) if body[:4] in _TEXTS else b""
        if name == b"Exif" and len(body) > 4:
            metadata.read_exif_apart(body[4 + int.from_bytes(body[:4], "big") :], limits)
        elif name == b"xml ":
            metadata.read_xmp(body, limits)


def _unpack(packed: bytes, limit: int) -> bytes:
    """The unpacked text, or nothing where it is damaged or longer than `limit`."""
    try:
        return bytes(brotli_decode(packed, out=limit))
    except (RuntimeError, ValueError):
        return b""


def _read_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the size header of the codestream (ISO/IEC 18181-1, 9.2.6)."""
    bits = _Bits(_find_codestream(data))
    small = bits.read(1)
    height = 8 * (bits.read(5) + 1) if small else bits.read_size()
    if ratio := bits.read(3):
        over, under = _RATIOS[ratio]
        return height * over // under, height
    return 8 * (bits.read(5) + 1) if small else bits.read_size(), height


def _find_codestream(data: bytes) -> bytes:
    """The bytes behind the codestream's signature, bare or in the first box that carries it."""
    if data.startswith(_CODESTREAM):
        return data[2:64]
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        header = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        body = at + header + (4 if name == b"jxlp" else 0)
        if name in (b"jxlc", b"jxlp") and data[body : body + 2] == _CODESTREAM:
            return data[body + 2 : body + 64]
        if size < header:
            break
        at += size
    raise MediaError("The JPEG XL file holds no picture.", code="unsupported_format")


class _Bits:
    """Reads little-endian bit fields."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")
        self.left = 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits as a number."""
        if count > self.left:
            raise MediaError("The JPEG XL header is cut off.", code="truncated")
        field = self.value & ((1 << count) - 1)
        self.value >>= count
        self.left -= count
        return field

    def read_size(self) -> int:
        """A side in pixels, in one of four lengths."""
        return 1 + self.read((9, 13, 18, 30)[self.read(2)])
