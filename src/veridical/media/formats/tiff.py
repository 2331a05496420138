"""TIFF: the first page, by Pillow and libtiff; further pages are other pictures, not frames of this one.

16-bit grey is rounded to 8 bits; of 16-bit colour Pillow gives only the upper byte.
"""

from __future__ import annotations

from PIL import TiffImagePlugin

from veridical.media.formats._colour import image_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pillow import LIMITED, open_picture, quiet
from veridical.media.formats._pixels import Decoded
from veridical.media.limits import Limits

_BITS_PER_SAMPLE = 258


def decode(data: bytes, limits: Limits) -> Decoded:
    """The first page, turned upright by Pillow itself."""
    metadata = Metadata()
    with quiet():
        image = open_picture(data, "TIFF", limits)
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        metadata.read_xmp(image.info.get("xmp") or b"", limits)
        metadata.read_icc(image.info.get("icc_profile") or b"", limits)
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))[0]
        pages = image.n_frames
        image.seek(0)
        pixels = image_to_rgb(image, metadata, maximum=2**bits - 1 if 8 < bits < 16 else 65535)
    notes = (metadata.partial, PARTIAL), (pages > 1, LIMITED)
    warnings = tuple(note for applies, note in notes if applies)
    return Decoded((pixels,), (0,), pages, warnings, metadata.blocks)
