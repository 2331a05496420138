"""JPEG XL: imagecodecs (extra `jxl`); libjxl turns the picture upright itself."""

from __future__ import annotations

import numpy as np
from imagecodecs import jpegxl_decode
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.formats._pixels import Decoded, as_rgb, check_size, choose_frames, to_8_bit
from veridical.media.limits import Limits

_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of an animation."""
    check_size(*_read_size(data), limits)
    try:
        samples = jpegxl_decode(data, numthreads=1)
    except RuntimeError as error:
        code = "truncated" if "NEED_MORE_INPUT" in str(error) else "malformed"
        raise MediaError(f"The JPEG XL stream cannot be decoded: {error}", code=code) from error
    frames = samples if _is_stack(samples) else samples[None]
    height, width = frames.shape[1:3]
    wanted = choose_frames(len(frames), width, height, limits)
    kept = tuple(np.ascontiguousarray(as_rgb(_to_8_bit(frames[index]))) for index in wanted)
    return Decoded(kept, wanted, len(frames), ("frames_limited",) if len(kept) < len(frames) else ())


def _is_stack(samples: NDArray[np.generic]) -> bool:
    """Whether the first axis counts frames: libjxl gives (h, w), (h, w, channels), or a stack of those."""
    return samples.ndim == 4 or (samples.ndim == 3 and samples.shape[2] > 4)


def _to_8_bit(samples: NDArray[np.generic]) -> NDArray[np.uint8]:
    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    if samples.dtype == np.uint16:
        return to_8_bit(samples.astype(np.uint16, copy=False))
    levels = np.nan_to_num(samples.astype(np.float32), nan=0.0)
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)


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
