"""What happens to a picture on its way: pure functions of pixels, with the real codecs.

Each takes and gives uint8 sRGB, (height, width, 3). Random ones take a `numpy.random.Generator`.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import PIL.Image
import simplejpeg

Pixels = npt.NDArray[np.uint8]


def jpeg(pixels: Pixels, quality: int, subsampling: str = "420") -> Pixels:
    """Encoded as JPEG (libjpeg-turbo, `quality` 1-100) and decoded again; metadata never survive."""
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorsubsampling=subsampling, fastdct=False
    )
    decoded: Pixels = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
    return decoded


def webp(pixels: Pixels, quality: int) -> Pixels:
    """Encoded as lossy WebP (`quality` 0-100) and decoded again."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="WEBP", quality=quality)
    with PIL.Image.open(buffer, formats=["WEBP"]) as decoded:
        return np.asarray(decoded.convert("RGB"))


def resize(pixels: Pixels, scale: float) -> Pixels:
    """Both sides times `scale` (at least one pixel), bicubic with antialiasing."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BICUBIC))


def resize_to(pixels: Pixels, size: int) -> Pixels:
    """To `size` x `size` whatever the shape was, bilinear with antialiasing."""
    return np.asarray(PIL.Image.fromarray(pixels).resize((size, size), PIL.Image.Resampling.BILINEAR))


def aligned_crop(pixels: Pixels, size: int, rng: np.random.Generator, align: int = 2) -> Pixels:
    """A random `size` x `size` crop that starts at a multiple of `align`, so the grid keeps its phase.

    A picture that is too small is tiled first, as NPR's GenImage recipe does: from its top-left corner and
    trimmed to a multiple of `align`, so that the phase holds in every tile.
    """
    pixels = tile(pixels, size, align)
    top, left = (int(rng.integers(0, (side - size) // align + 1)) * align for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def tile(pixels: Pixels, size: int, align: int = 2) -> Pixels:
    """The picture repeated until both sides are at least `size`; unchanged if they are."""
    height, width = pixels.shape[:2]
    if min(height, width) >= size:
        return pixels
    trimmed = pixels[: height // align * align, : width // align * align]
    repeats = (-(-size // trimmed.shape[0]), -(-size // trimmed.shape[1]), 1)
    return np.tile(trimmed, repeats)


def reencode(pixels: Pixels, rng: np.random.Generator, least_quality: int = 60) -> Pixels:
    """One random lossy encoding, the same distribution whatever the label.

    JPEG three times in four (quality `least_quality` to 98, chroma halved in two of three), else WebP (the
    same qualities). There is no "left as it was": original formats differ between the classes, so any
    untouched share would leak.
    """
    quality = int(rng.integers(least_quality, 99))
    if rng.random() < 0.75:
        return jpeg(pixels, quality, "420" if rng.random() < 2 / 3 else "444")
    return webp(pixels, quality)


def flip(pixels: Pixels) -> Pixels:
    """Mirrored left to right; blocks of an even width stay the same blocks."""
    return pixels[:, ::-1]
