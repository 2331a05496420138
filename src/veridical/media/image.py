"""Bytes or a path become an `Image`: 8-bit sRGB, upright, decoded once."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MediaError, MissingExtraError
from veridical.media.decoding import decode
from veridical.media.formats._pixels import Decoded, MetadataBlocks, check_size
from veridical.media.formats._tiff import camera_raw
from veridical.media.limits import DEFAULT_LIMITS, Limits
from veridical.media.sniff import describe, is_camera_raw, refused_size, sniff
from veridical.media.sources import check_file_size, read_file

# Decoded in a child process; `veridical.media.sandbox` says why these.
FENCED_FORMATS = frozenset({"avif", "heic", "ico", "jxl", "tiff"})

# Formats whose decoder is an extra: the module to look for, what to call them, the extra.
_EXTRAS = {"heic": ("pi_heif", "HEIC pictures", "heic"), "jxl": ("imagecodecs", "JPEG XL pictures", "jxl")}


Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Image:
    """A picture, or the sampled frames of an animation.

    `frames` are uint8 sRGB, (height, width, 3), C-contiguous and read-only; `frame_indices` are their places
    in the file (from 0), of `frame_count` in all. `sha256` is that of the file's bytes. `warnings` are codes:
    `frames_limited` (the file holds more frames or pages than are kept), `metadata_partial` (some metadata
    could not be read and has no part in the pixels), `trailing_data` (bytes follow the picture),
    `truncated` (the rest of the picture is missing; only with `allow_truncated`), `damaged` (the decoder met
    data that make no sense, and part of the pixels is not what it was), `no_end_marker` (the picture is whole,
    and only the mark of its end is missing). `metadata` are the blocks of the file as it holds them.
    """

    frames: tuple[Pixels, ...]
    format: str
    frame_indices: tuple[int, ...]
    frame_count: int
    sha256: str
    warnings: tuple[str, ...] = ()
    metadata: MetadataBlocks = MetadataBlocks()

    @classmethod
    def of(cls, *frames: Pixels, sha256: str = "") -> Image:
        """An image of pixels that no file holds like this; `sha256` is that of the file they came from."""
        return cls(frames, "pixels", tuple(range(len(frames))), len(frames), sha256)

    @property
    def pixels(self) -> Pixels:
        """The first frame."""
        return self.frames[0]

    @property
    def width(self) -> int:
        """Pixels across the upright picture."""
        return int(self.frames[0].shape[1])

    @property
    def height(self) -> int:
        """Pixels down the upright picture."""
        return int(self.frames[0].shape[0])


def open_media(
    source: bytes | str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, allow_truncated: bool = False
) -> Image:
    """The picture in `source`, a path or the bytes of a file.

    Of an animation at most `limits.max_frames` frames are kept, evenly spaced from the first to the last;
    fewer where the canvas is large (see `Limits`). Transparent parts lie over mid-grey (128). With
    `allow_truncated` a picture that breaks off is given with grey or black for what is missing, and the
    warning `truncated`.

    Raises `MediaError` for bytes that are no picture we can judge (nothing else, whatever the bytes),
    `SourceError` for a path that gives no bytes, `MissingExtraError` where a format needs an extra.
    """
    data = source if isinstance(source, bytes) else read_file(Path(source), limits)
    check_file_size(len(data), limits)
    format = _identify(data, limits)
    try:
        decoded = _decode(data, format, limits)
    except MediaError as error:
        if not (allow_truncated and error.code == "truncated"):
            raise
        decoded = _decode_fenced(data, format, limits, allow_truncated=True)
    return Image(
        frames=tuple(_freeze(frame) for frame in decoded.frames),
        format=format,
        frame_indices=decoded.frame_indices,
        frame_count=decoded.frame_count,
        sha256=hashlib.sha256(data).hexdigest(),
        warnings=decoded.warnings,
        metadata=decoded.metadata,
    )


def _identify(data: bytes, limits: Limits) -> str:
    if not data:
        raise MediaError("The file is empty.", code="empty_file")
    format = sniff(data)
    if format is None:
        _refuse_bomb(data, limits)
        if is_camera_raw(data):
            raise camera_raw()
        raise MediaError(
            f"This is no picture that can be judged: it looks like {describe(data)}.",
            code="unsupported_format",
            hint="Formats: JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, HEIC, JPEG XL, ICO.",
        )
    if format in _EXTRAS:
        module, called, extra = _EXTRAS[format]
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(called, extra=extra, code="unsupported_format")
    return format


def _refuse_bomb(data: bytes, limits: Limits) -> None:
    """Of a format that is refused anyway, say that it is a bomb if its header says so.

    None of these holds photographs, so that the pixels that phones take are no measure for them.
    """
    size = refused_size(data)
    most = min(limits.max_pixels, limits.max_kept_pixels)
    if size and size[0] * size[1] > most:
        check_size(*size, replace(limits, max_pixels=most))


def _decode(data: bytes, format: str, limits: Limits) -> Decoded:
    if format in FENCED_FORMATS:
        return _decode_fenced(data, format, limits, allow_truncated=False)
    return decode(data, format, limits)


def _decode_fenced(data: bytes, format: str, limits: Limits, *, allow_truncated: bool) -> Decoded:
    from veridical.media.sandbox import decode_fenced  # most pictures start no process and need none of it

    return decode_fenced(data, format, limits, allow_truncated=allow_truncated)


def _freeze(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    frame = np.ascontiguousarray(frame)
    frame.flags.writeable = False
    return frame
