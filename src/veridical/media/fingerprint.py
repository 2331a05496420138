"""Perceptual hashes: bits that stay nearly the same when a picture is re-saved or resized.

dHash: Neal Krawetz, Kind of Like That, 2013, https://www.hackerfactor.com/blog/?/archives/529; computed
as the library imagehash does (8 x 8 bits, Lanczos), so that published lists of its hashes can be used. PDQ:
Facebook, The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm, 2019,
https://github.com/facebook/ThreatExchange; computed by the library pdqhash.

Neither survives a crop of more than a few per cent, a rotation or mirroring. Both are blind to small edits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MissingExtraError

DHASH_BITS = 64
PDQ_BITS = 256

_BYTES_PER_ROW = 0x00FF_FFFF_FFFF_FFFF

# PDQ's own programs hash a picture of this size at most; a larger one only takes longer.
_PDQ_SIDE = 512


@dataclass(frozen=True)
class PDQ:
    """32 bytes, and how much there was to hash: 0 (flat) to 100."""

    hash: bytes
    quality: int


def dhash(pixels: NDArray[np.uint8]) -> int:
    """64 bits of a picture, (height, width, 3): is each of 8 x 8 points brighter than its left neighbour?

    The top-left comparison is the highest bit, so that 16 hex digits are the string of imagehash.

    >>> ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    >>> f"{dhash(np.stack([ramp] * 3, axis=-1)):016x}"
    'ffffffffffffffff'
    """
    import PIL.Image  # 30 ms that only those who hash pay

    grey = PIL.Image.fromarray(pixels).convert("L").resize((9, 8), PIL.Image.Resampling.LANCZOS)
    values = np.asarray(grey)
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def detail(hashed: int) -> int:
    """How many bits of a dHash differ from the bit below: 0 to 56, about 22 for a photograph.

    Pictures with little in them - a flat ground, a gradient, stripes - share their few hashes with many others.

    >>> detail(0xFFFF_FFFF_FFFF_FFFF), detail(0xFF00_FF00_FF00_FF00)
    (0, 56)
    """
    return ((hashed ^ (hashed >> 8)) & _BYTES_PER_ROW).bit_count()


def pdq(pixels: NDArray[np.uint8]) -> PDQ:
    """256 bits of a picture, (height, width, 3). Raises `MissingExtraError`."""
    try:
        import pdqhash
    except ImportError as error:
        raise MissingExtraError("PDQ hashes", extra="retrieval") from error
    if max(pixels.shape[:2]) > _PDQ_SIDE:
        import PIL.Image

        small = PIL.Image.fromarray(pixels).resize((_PDQ_SIDE, _PDQ_SIDE), PIL.Image.Resampling.BILINEAR)
        pixels = np.asarray(small)
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return PDQ(np.packbits(bits.astype(np.uint8)).tobytes(), int(quality))
