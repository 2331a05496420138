"""Perturbations of a picture on its way: pure functions of pixels, with the real codecs.

Each takes and gives uint8 sRGB, (height, width, 3). Random ones take a `numpy.random.Generator`. `NAMED` holds
those that detectors are measured under.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
import simplejpeg

from veridical.errors import DataError

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

# The format's own limit, pixels a side.
_WEBP_SIDE = 16383

# Luma of the three channels, ITU-R BT.601, as JPEG has it.
_LUMA = (0.299, 0.587, 0.114)

# The largest window that `screenshot` shows a picture in: (height, width).
_SCREEN = (1080, 1920)


@dataclass(frozen=True)
class Perturbation:
    """One way to change a picture: an `operation` at a `severity`, under a name that stays.

    `apply` takes pixels and a generator, and draws from nothing else. `severity` is what tables show.
    """

    name: str
    operation: str
    severity: str
    apply: Callable[[Pixels, np.random.Generator], Pixels]


def perturb(pixels: Pixels, name: str, *, sha256: str) -> Pixels:
    """The perturbation of `NAMED`, with chance that depends on nothing but `name` and the file's `sha256`.

    So a sample gives the same pixels whatever was perturbed before it. Raises `DataError` (`unreadable_sample`)
    for a picture too large for the codec.
    """
    seed = hashlib.sha256(f"{name} {sha256}".encode()).digest()
    return NAMED[name].apply(pixels, np.random.default_rng(int.from_bytes(seed, "big")))


def jpeg(pixels: Pixels, quality: int, subsampling: str = "420") -> Pixels:
    """Encoded as JPEG (libjpeg-turbo, `quality` 1-100) and decoded again; metadata never survive."""
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorsubsampling=subsampling, fastdct=False
    )
    decoded: Pixels = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
    return decoded


def webp(pixels: Pixels, quality: int) -> Pixels:
    """Encoded as lossy WebP (`quality` 0-100) and decoded again."""
    height, width = pixels.shape[:2]
    if max(height, width) > _WEBP_SIDE:
        raise DataError(
            f"WebP cannot hold {width} x {height} pixels, only {_WEBP_SIDE} a side.", code="unreadable_sample"
        )
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="WEBP", quality=quality)
    with PIL.Image.open(buffer, formats=["WEBP"]) as decoded:
        return np.asarray(decoded.convert("RGB"))


def resize(pixels: Pixels, scale: float) -> Pixels:
    """Both sides times `scale` (at least one pixel), bicubic with antialiasing."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BICUBIC))


def resize_to(
    pixels: Pixels, size: int, filter: PIL.Image.Resampling = PIL.Image.Resampling.BILINEAR
) -> Pixels:
    """To `size` x `size` whatever the shape was, with antialiasing."""
    return np.asarray(PIL.Image.fromarray(pixels).resize((size, size), filter))


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


def resize_and_back(pixels: Pixels, scale: float) -> Pixels:
    """Both sides times `scale`, then to the old size again: the size keeps no trace, the pixels do."""
    height, width = pixels.shape[:2]
    small = PIL.Image.fromarray(resize(pixels, scale))
    return np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC))


def crop(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """A random rectangle with `share` of both sides, at any offset, as someone with a mouse crops.

    Unlike `aligned_crop` it keeps no phase of the grid.
    """
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    top = int(rng.integers(0, pixels.shape[0] - height + 1))
    left = int(rng.integers(0, pixels.shape[1] - width + 1))
    return pixels[top : top + height, left : left + width]


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian blur with a standard deviation of `sigma` pixels; borders repeat the outermost pixel.

    Sums in float and rounds once, at the end: a blur in place on uint8 truncates at each step.
    """
    if sigma == 0:
        return pixels
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    height, width = pixels.shape[:2]
    padded = np.pad(pixels.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    rows = np.zeros((height, *padded.shape[1:]), np.float32)
    for start, weight in enumerate(kernel):
        rows += weight * padded[start : start + height]
    blurred = np.zeros((height, width, 3), np.float32)
    for start, weight in enumerate(kernel):
        blurred += weight * rows[:, start : start + width]
    return to_bytes(blurred)


def noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, independent in each channel of each pixel; `sigma` in [0, 1] is a share of the range."""
    return to_bytes(pixels + rng.normal(0.0, 255 * sigma, pixels.shape))


def adjust_colour(pixels: Pixels, *, brightness: float, contrast: float, saturation: float) -> Pixels:
    """All three factors, in this order, in float; 1 leaves as it is.

    Contrast is the distance from the picture's mean grey, saturation that from each pixel's own grey.
    """
    # Exact sums: those of floats depend on the processor.
    mean = brightness * float(np.dot(_LUMA, pixels.sum(axis=(0, 1), dtype=np.int64))) / pixels[..., 0].size
    values = mean + (brightness * pixels.astype(np.float32) - mean) * contrast
    red, green, blue = (weight * values[..., channel] for channel, weight in enumerate(_LUMA))
    grey = (red + green + blue)[..., None]
    return to_bytes(grey + (values - grey) * saturation)


def shift_colour(pixels: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast and saturation, each `amount` up or down by chance."""
    brightness, contrast, saturation = (float(f) for f in 1 + amount * rng.choice([-1.0, 1.0], 3))
    return adjust_colour(pixels, brightness=brightness, contrast=contrast, saturation=saturation)


def screenshot(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Shown on a screen, captured, and sent on.

    Scaled bilinearly, as browsers do, by a zoom drawn from 0.75 to 1.5, or less where 1920 x 1080 pixels are
    not enough; the screen's tone curve is a power drawn from 0.9 to 1.1; the capture loses only what 8 bits
    lose; the chat that it is sent with makes it a JPEG of quality 85.
    """
    zoom = min(
        rng.uniform(0.75, 1.5), *(most / side for most, side in zip(_SCREEN, pixels.shape, strict=False))
    )
    height, width = (max(1, round(side * zoom)) for side in pixels.shape[:2])
    shown = np.asarray(PIL.Image.fromarray(pixels).resize((width, height), PIL.Image.Resampling.BILINEAR))
    tones = to_bytes(255 * (np.arange(256) / 255) ** rng.uniform(0.9, 1.1))
    return jpeg(tones[shown], 85)


def deliver(pixels: Pixels) -> Pixels:
    """Two codecs in a chain, as between a camera roll and a feed: half size, JPEG 55, WebP 75, JPEG 80."""
    return jpeg(webp(jpeg(resize(pixels, 0.5), 55), 75), 80)


def snip(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut out of a screen with a mouse: shown bilinearly at a zoom of 0.75 to 1.25, a ninth of it left out."""
    height, width = pixels.shape[:2]
    zoom = rng.uniform(0.75, 1.25)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    shown = np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BILINEAR))
    return crop(shown, (8 / 9) ** 0.5, rng)


def page(pixels: Pixels) -> Pixels:
    """The screenshot of a page that shows the picture: white around it, grey lines of text below, lossless."""
    height, width = pixels.shape[:2]
    scale = min(1.0, 1000 / width)
    shown = resize(pixels, scale) if scale < 1 else pixels
    high, wide = shown.shape[:2]
    margin = max(32, wide // 6)
    canvas = np.full((high + 5 * margin // 2, wide + 2 * margin, 3), 255, np.uint8)
    canvas[margin : margin + high, margin : margin + wide] = shown
    for top in range(margin + high + 24, canvas.shape[0] - 12, 20):
        canvas[top : top + 9, margin : margin + wide : 7] = 90
    return canvas


def messenger(pixels: Pixels) -> Pixels:
    """Sent and sent on: at most 1600 pixels and JPEG 80, then at most 1280 and JPEG 70."""
    for longest, quality in ((1600, 80), (1280, 70)):
        scale = min(1.0, longest / max(pixels.shape[:2]))
        pixels = jpeg(resize(pixels, scale) if scale < 1 else pixels, quality)
    return pixels


def random_chain(pixels: Pixels, length: int, rng: np.random.Generator) -> Pixels:
    """`length` different single operations, each at one of its named severities, in random order."""
    for index in rng.permutation(len(_SINGLE))[:length]:
        variants = [p for p in NAMED.values() if p.operation == _SINGLE[index]]
        pixels = variants[rng.integers(len(variants))].apply(pixels, rng)
    return pixels


def weather(pixels: Pixels, most: int, rng: np.random.Generator) -> Pixels:
    """None to `most` different operations in random order, each at a severity drawn anew: for training.

    Blur of sigma 0.2 to 1.5, noise of 0.005 to 0.05, to 0.4 to 0.95 of the size and back, one encoding of
    quality 40 to 98, colours up to 20 % up or down.
    """
    operations: list[Callable[[Pixels], Pixels]] = [
        lambda p: blur(p, rng.uniform(0.2, 1.5)),
        lambda p: noise(p, rng.uniform(0.005, 0.05), rng),
        lambda p: resize_and_back(p, rng.uniform(0.4, 0.95)),
        lambda p: reencode(p, rng, 40),
        lambda p: shift_colour(p, 0.2, rng),
    ]
    count = int(rng.integers(0, most + 1))
    for index in rng.permutation(len(operations))[:count]:
        pixels = operations[index](np.ascontiguousarray(pixels))
    return pixels


def to_bytes(values: npt.NDArray[np.floating]) -> Pixels:
    """Values in [0, 255], rounded half to even and clipped."""
    rounded: Pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded


# The ways of a picture to somebody's eyes, of which a release states how many verdicts each changes.
DELIVERIES = ("jpeg_75", "half", "snip", "page", "messenger", "crop_0.8", "enlarged_1.5")

_SINGLE = ("jpeg", "webp", "resize", "crop", "blur", "noise", "colour")


def _named() -> dict[str, Perturbation]:
    family = [
        Perturbation("none", "none", "", lambda pixels, rng: pixels),
        *(_fixed(f"jpeg_{q}", "jpeg", f"quality {q}", jpeg, q) for q in (95, 90, 75, 50, 30)),
        _fixed("webp_75", "webp", "quality 75", webp, 75),
        *(_fixed(f"resize_{s}", "resize", f"to {s} and back", resize_and_back, s) for s in (0.75, 0.5, 0.25)),
        _drawn("crop_0.8", "crop", "0.8 of each side", crop, 0.8),
        *(_fixed(f"blur_{s}", "blur", f"sigma {s}", blur, s) for s in (0.5, 1, 2)),
        *(_drawn(f"noise_{s}", "noise", f"sigma {s}", noise, s) for s in (0.02, 0.05, 0.1)),
        _drawn("colour_0.2", "colour", "20 % up or down", shift_colour, 0.2),
        Perturbation("screenshot", "screenshot", "", screenshot),
        Perturbation("chain_delivery", "chain", "two codecs", lambda pixels, rng: deliver(pixels)),
        _fixed("half", "delivery", "half size", resize, 0.5),
        _fixed("enlarged_1.5", "delivery", "1.5 times the size", resize, 1.5),
        Perturbation("snip", "delivery", "snipped from a screen", snip),
        Perturbation("page", "delivery", "page screenshot", lambda pixels, rng: page(pixels)),
        Perturbation("messenger", "delivery", "sent twice", lambda pixels, rng: messenger(pixels)),
        *(_drawn(f"random_{n}", "random", f"{n} operations", random_chain, n) for n in (3, 5)),
    ]
    return {perturbation.name: perturbation for perturbation in family}


def _fixed(
    name: str, operation: str, severity: str, function: Callable[[Pixels, T], Pixels], value: T
) -> Perturbation:
    return Perturbation(name, operation, severity, lambda pixels, rng: function(pixels, value))


def _drawn(
    name: str,
    operation: str,
    severity: str,
    function: Callable[[Pixels, T, np.random.Generator], Pixels],
    value: T,
) -> Perturbation:
    return Perturbation(name, operation, severity, lambda pixels, rng: function(pixels, value, rng))


# Grouped by operation, each from mild to severe. Names are stored in files: they never change their meaning.
NAMED = _named()
