"""Colour profiles: pixels of any profile become sRGB."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import ImageCms

# The primaries of sRGB adapted to D50, as its ICC profile states them (https://www.color.org/srgbprofiles.xalter).
_SRGB_COLORANTS = {
    b"rXYZ": (0.4360, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}


def profile_mode(profile: bytes) -> str | None:
    """The Pillow mode that a profile describes: RGB, L, CMYK, LAB, or `None` for another."""
    return _SPACES.get(profile[16:20])


def is_srgb(profile: bytes) -> bool:
    """Whether an RGB matrix profile is sRGB to within half a level, whatever it calls itself.

    Most profiles in the wild are some sRGB; knowing that without a colour engine spares its import and the
    conversion's rounding.
    """
    try:
        tags = _read_tags(profile)
        return all(
            _is_near(_read_xyz(tags[name]), expected) for name, expected in _SRGB_COLORANTS.items()
        ) and all(_is_srgb_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    except (KeyError, struct.error, ValueError, IndexError):
        return False


def make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """The conversion of Pillow images of `mode` to sRGB; raises `ImageCms.PyCMSError` for a broken profile."""
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _read_tags(profile: bytes) -> dict[bytes, bytes]:
    if profile[12:20] not in (b"mntrRGB ", b"scnrRGB ", b"spacRGB "):
        raise ValueError("no RGB profile")
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for entry in range(min(count, 100)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * entry)
        tags[name] = profile[offset : offset + size]
    if b"A2B0" in tags:
        raise ValueError("a table profile")
    return tags


def _read_xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(value / 65536 for value in struct.unpack_from(">3i", tag, 8))


def _is_near(values: tuple[float, ...], expected: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 0.002 for a, b in zip(values, expected, strict=True))


def _is_srgb_curve(tag: bytes) -> bool:
    level = np.linspace(0, 1, 256)
    return bool(np.abs(_linear_to_srgb(_evaluate(tag, level)) - level).max() < 0.5 / 255)


def _evaluate(tag: bytes, level: NDArray[np.float64]) -> NDArray[np.float64]:
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        table = np.frombuffer(tag, ">u2", count, 12)
        if count < 2:
            raise ValueError("a plain gamma is not sRGB")
        steps: NDArray[np.float64] = np.interp(level, np.linspace(0, 1, count), table / 65535)
        return steps
    kind = struct.unpack_from(">H", tag, 8)[0]
    if tag[:4] == b"para" and kind in (3, 4):
        gamma, a, b, c, d = (value / 65536 for value in struct.unpack_from(">5i", tag, 12))
        e, f = (value / 65536 for value in struct.unpack_from(">2i", tag, 32)) if kind == 4 else (0.0, 0.0)
        light: NDArray[np.float64] = np.where(
            level >= d, np.maximum(a * level + b, 0) ** gamma + e, c * level + f
        )
        return light
    raise ValueError("an unknown curve")


def _linear_to_srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    light = np.clip(light, 0, 1)
    return np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
