"""One documented way from any colour space to 8-bit sRGB.

* What a file states in numbers - CICP in AVIF, HEIC, PNG and JPEG XL, gAMA and cHRM in PNG - is converted as
  `_spaces` says, PQ and HLG with one tone map. CICP of a PNG counts for more than its profile, elsewhere less.
* An ICC profile is converted with LittleCMS (perceptual intent); one that is sRGB already, or broken, is not.
* CMYK without a profile is `(255 - C)(255 - K) / 255` and so on, as Pillow converts it.
* 16 bits become 8 by rounding; floats are taken as [0, 1], or as [0, 255] where some are above 1.
* A palette is looked up; what is transparent is laid over mid-grey (128), after the profile. Alpha that is 0
  at every pixel is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from veridical.media.formats._icc import is_srgb, make_transform, profile_mode
from veridical.media.formats._metadata import Metadata
from veridical.media.formats._pixels import as_rgb, bands, is_seen, over_grey, to_8_bit
from veridical.media.formats._spaces import Space

if TYPE_CHECKING:
    from PIL import Image, ImageCms

_WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_GREY = {"1", "L", "LA", "La"}
_DIRECT = {"L", "RGB", "CMYK", "LAB"}


def array_to_rgb(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], metadata: Metadata, maximum: int = 255
) -> NDArray[np.uint8]:
    """Samples in [0, maximum] of 1 to 4 channels (grey, with alpha, RGB, with alpha) as (h, w, 3) sRGB."""
    if metadata.space is not None and not metadata.space.is_srgb:
        return _space_to_rgb(pixels, metadata.space, maximum)
    pixels = to_8_bit(pixels, maximum)
    if metadata.space is not None:
        return as_rgb(pixels)
    if metadata.icc is None or is_srgb(metadata.icc):
        return as_rgb(pixels)
    from PIL import Image

    return image_to_rgb(Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels), metadata)


def image_to_rgb(image: Image.Image, metadata: Metadata, maximum: int = 65535) -> NDArray[np.uint8]:
    """A Pillow image of any mode as (h, w, 3) sRGB; `maximum` is the largest value of a 16-bit sample."""
    image.load()
    image = _with_8_bit_samples(image, maximum)
    space = None if metadata.space is None or metadata.space.is_srgb else metadata.space
    transform, transform_mode = _choose_transform(image.mode, metadata)
    hides_all = _hides_all(image)
    out = np.empty((image.height, image.width, 3), np.uint8)
    for rows in bands(image.height):
        band = image.crop((0, rows.start, image.width, rows.stop))
        colour, alpha = _split_alpha(band)
        if transform is not None:
            colour = _apply(transform, colour.convert(transform_mode))
        rgb = np.asarray(colour.convert("RGB"))
        if space is not None:
            rgb = space.to_srgb(rgb, 255)
        out[rows] = rgb if alpha is None or hides_all else over_grey(rgb, alpha)
    return out


def _space_to_rgb(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], space: Space, maximum: int
) -> NDArray[np.uint8]:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels in (1, 3):
        return space.to_srgb(pixels, maximum)
    rgb, alpha = space.to_srgb(pixels[:, :, :-1], maximum), pixels[:, :, -1]
    return over_grey(rgb, to_8_bit(alpha, maximum)) if is_seen(alpha) else rgb


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # None only with inPlace=True
    return converted


def _hides_all(image: Image.Image) -> bool:
    """Whether every pixel is transparent, as in files whose writer left alpha empty."""
    return image.mode in ("RGBA", "LA", "PA") and image.getchannel("A").getextrema()[1] == 0


def _with_8_bit_samples(image: Image.Image, maximum: int) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray(to_8_bit(np.asarray(image).astype(np.uint16), maximum))
    if image.mode == "I":
        return Image.fromarray(to_8_bit(np.clip(np.asarray(image), 0, maximum).astype(np.uint16), maximum))
    if image.mode == "F":
        levels = np.nan_to_num(np.asarray(image), nan=0.0)
        scale = 255.0 if levels.max() <= 1.0 else 1.0
        return Image.fromarray(np.rint(np.clip(levels * scale, 0, 255)).astype(np.uint8))
    return image


def _choose_transform(mode: str, metadata: Metadata) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The conversion to sRGB and the mode that it eats; notes in `metadata` a profile that cannot be used."""
    from PIL import ImageCms

    profile_for = None if metadata.icc is None else profile_mode(metadata.icc)
    space = mode if mode in ("CMYK", "LAB") else "L" if mode in _GREY else "RGB"
    if space == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB"), "LAB"
    if (
        metadata.icc is None
        or metadata.space is not None
        or (profile_for == "RGB" and space != "CMYK" and is_srgb(metadata.icc))
    ):
        return None, mode
    if profile_for != space and (profile_for, space) != ("RGB", "L"):
        metadata.partial = True
        return None, mode
    try:
        return make_transform(metadata.icc, str(profile_for)), str(profile_for)
    except (ImageCms.PyCMSError, OSError, ValueError):
        metadata.partial = True
        return None, mode


def _split_alpha(image: Image.Image) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), np.asarray(rgba.getchannel("A"))
    return (image if image.mode in _DIRECT else image.convert("RGB")), None
