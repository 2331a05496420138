"""Pillow, for what has no faster exact decoder, and as the judge of what is wrong with a damaged file."""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from veridical.errors import MediaError
from veridical.media.formats._colour import image_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pixels import Decoded, check_size, choose_frames, turn_upright
from veridical.media.limits import DEFAULT_LIMITS, Limits

LIMITED = "frames_limited"
# What Pillow's codecs mean by their numbers (`Imaging.h`).
_CODES = re.compile(r"(?:decoder|encoder|codec) error (-?\d+)")
_DAMAGE = {
    "-1": "its pixels go on after the end of the picture",
    "-2": "its compressed data make no sense",
    "-8": "its header and its data do not fit together",
}
# Named, since Pillow would otherwise import all of its plug-ins to find one.
PLUGINS = {
    "AVIF": "AvifImagePlugin",
    "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "ICO": "IcoImagePlugin",
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}


def decode_with_pillow(
    data: bytes,
    plugin: str,
    limits: Limits,
    *,
    metadata: Metadata | None = None,
    frame_count: int = 1,
    usable_frames: int | None = None,
) -> Decoded:
    """The sampled frames of `data`, opened by one Pillow plug-in and no other.

    `frame_count` frames are in the file, of which only the first `usable_frames` may be touched. The first
    frame must decode; the frames end where a later one does not.
    """
    metadata = metadata or Metadata()
    with quiet():
        image = open_picture(data, plugin, limits)
        wanted = choose_frames(usable_frames or frame_count, *image.size, limits)
        frames = [turn_upright(image_to_rgb(image, metadata), metadata.orientation)]
        frames += _later_frames(image, wanted[1:], metadata)
    notes = (metadata.partial, PARTIAL), (len(frames) < frame_count, LIMITED)
    return Decoded(
        tuple(frames),
        wanted[: len(frames)],
        frame_count,
        tuple(note for applies, note in notes if applies),
        metadata.blocks,
    )


def open_picture(data: bytes, plugin: str, limits: Limits) -> ImageFile.ImageFile:
    """The header, read by one plug-in and no other; nothing is decoded yet."""
    import_module(f"PIL.{PLUGINS[plugin]}")
    image = Image.open(io.BytesIO(data), formats=(plugin,))
    check_size(*image.size, limits)
    return image


def explain(error: Exception, *, damaged: str = "unsupported_format") -> MediaError:
    """Our error for a decoder's exception; `damaged` is the code for "no picture could be identified"."""
    if isinstance(error, Image.DecompressionBombError):
        return MediaError("The header states more pixels than are allowed.", code="too_large")
    if isinstance(error, UnidentifiedImageError | SyntaxError):
        return MediaError("The file starts like a picture, but no picture can be found in it.", code=damaged)
    if isinstance(error, MemoryError):
        return MediaError("Decoding needs more memory than is allowed.", code="decode_oom")
    if isinstance(error, EOFError | struct.error) or "truncated" in str(error).lower():
        return cut_short()
    if damage := _CODES.search(str(error)):
        return MediaError(f"The file is damaged: {_DAMAGE.get(damage[1], _DAMAGE['-2'])}.", code="malformed")
    return MediaError(f"The file is damaged: {error}", code="malformed")


def cut_short() -> MediaError:
    """The error of a file of which the end is missing."""
    return MediaError(
        "The file ends in the middle of the picture.",
        code="truncated",
        hint="Copy or download the file again, or use --allow-truncated to judge what is there.",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore Python warnings that Pillow raises about odd files, and raise its own limit of pixels to ours.

    What matters is in our own warnings, and `check_size` has our limit. Filters and limit are global, so that
    with several threads the first one in sets them and the last one out puts them back.
    """
    global _depth, _saved, _saved_pixels
    with _lock:
        if _depth == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module="PIL")
            _saved_pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, DEFAULT_LIMITS.max_pixels
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _saved.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = _saved_pixels


_lock = threading.Lock()
_depth = 0
_saved = warnings.catch_warnings()
_saved_pixels = Image.MAX_IMAGE_PIXELS


def _later_frames(image: Image.Image, wanted: tuple[int, ...], metadata: Metadata) -> list[NDArray[np.uint8]]:
    frames: list[NDArray[np.uint8]] = []
    shape = image.size
    for index in wanted:
        try:
            image.seek(index)
            if image.size != shape:
                break
            frames.append(turn_upright(image_to_rgb(image, metadata), metadata.orientation))
        except Exception:  # noqa: BLE001 - Pillow raises of every kind; a damaged later frame only ends the sampling
            break
    return frames
