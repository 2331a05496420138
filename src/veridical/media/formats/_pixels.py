"""Decoded frames as decoders hand them back, and the arithmetic on pixels that all formats share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.limits import Limits

GREY = 128
BAND_ROWS = 256


@dataclass(frozen=True)
class MetadataBlocks:
    """The metadata of a file as it holds them, byte for byte; `None` where there are none.

    `exif` begins with its TIFF header, `xmp` is the packet, `icc` the profile. Of several the first; what is
    larger than the limits, or in no way what it claims to be, is not kept.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True, eq=False)
class Decoded:
    """The frames kept of one file: uint8 RGB, (height, width, 3), upright; which they are, of how many."""

    frames: tuple[NDArray[np.uint8], ...]
    frame_indices: tuple[int, ...] = (0,)
    frame_count: int = 1
    warnings: tuple[str, ...] = ()
    metadata: MetadataBlocks = MetadataBlocks()


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a picture that would be too large, before any of its pixels is allocated."""
    if width > limits.max_side or height > limits.max_side or width * height > limits.max_pixels:
        raise MediaError(
            f"The header states {width} x {height} pixels; the limit is {limits.max_pixels:,} pixels and "
            f"{limits.max_side:,} on a side.",
            code="too_large",
        )


def choose_frames(count: int, width: int, height: int, limits: Limits) -> tuple[int, ...]:
    """Which frames of an animation are judged: evenly spaced, from the first to the last, at most `max_frames`.

    Fewer where the canvas is so large that they would exceed `max_kept_pixels` together; and only from the
    beginning of the file where stepping to its end would exceed `max_animation_pixels`.

    >>> choose_frames(31, 100, 100, Limits(max_frames=4))
    (0, 10, 20, 30)
    """
    canvas = max(1, width * height)
    reachable = max(1, min(count, limits.max_animation_pixels // canvas))
    most = min(limits.max_pixels, limits.max_kept_pixels)
    kept = max(1, min(reachable, limits.max_frames, most // canvas))
    if kept == 1:
        return (0,)
    return tuple(round(step * (reachable - 1) / (kept - 1)) for step in range(kept))


def bands(height: int) -> Iterator[slice]:
    """Slices of rows: work on large pictures is done in bands, so that no copy is as large as the picture."""
    for top in range(0, height, BAND_ROWS):
        yield slice(top, min(top + BAND_ROWS, height))


def to_8_bit(samples: NDArray[np.uint8] | NDArray[np.uint16], maximum: int = 65535) -> NDArray[np.uint8]:
    """Integers in [0, maximum] as uint8, rounded to the nearest level; those of 8 bits as they are."""
    if samples.dtype == np.uint8 and maximum == 255:
        return samples.astype(np.uint8, copy=False)
    out = np.empty(samples.shape, np.uint8)
    for rows in bands(len(samples)):
        wide = samples[rows].astype(np.uint32)
        out[rows] = np.minimum((wide * 255 + maximum // 2) // maximum, 255)
    return out


def over_grey(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) laid over mid-grey (128) with `alpha` (h, w) in [0, 255], rounded to the nearest level."""
    out = np.empty(colour.shape, np.uint8)
    for rows in bands(len(colour)):
        weight = alpha[rows, :, None].astype(np.uint16)
        out[rows] = (colour[rows] * weight + GREY * (255 - weight) + 127) // 255
    return out


def unmultiply(
    samples: NDArray[np.uint8] | NDArray[np.uint16], maximum: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Colours as they were before alpha, the last channel, was multiplied into them; 0 where alpha is 0."""
    out = samples.copy()
    for rows in bands(len(samples)):
        alpha = samples[rows, :, -1:].astype(np.float32)
        colour = samples[rows, :, :-1] * (maximum / np.maximum(alpha, 1))
        out[rows, :, :-1] = np.rint(np.minimum(colour, maximum)) * (alpha > 0)
    return out


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) grey, (h, w, 2) grey and alpha, (h, w, 3) or (h, w, 4) as (h, w, 3); see `is_seen`."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 3:
        return pixels
    if channels == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    colour, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    if not is_seen(alpha):
        return as_rgb(colour)
    return over_grey(np.broadcast_to(colour, (*pixels.shape[:2], 3)), alpha)


def is_seen(alpha: NDArray[np.unsignedinteger]) -> bool:
    """Whether alpha shows anything: where it is 0 at every pixel, its writer had none, and colours count."""
    return bool(alpha.any())


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as EXIF `orientation` (1-8) says it is to be seen."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
