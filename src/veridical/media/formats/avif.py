"""AVIF and AVIF sequences: Pillow's libavif.

Rotation and mirroring (`irot`, `imir`) come from Pillow as an EXIF orientation that replaces the one in the
file, as the standard wants; so they are applied once.
"""

from __future__ import annotations

from PIL import AvifImagePlugin

from veridical.media.formats._metadata import Metadata
from veridical.media.formats._pillow import decode_with_pillow, open_picture, quiet
from veridical.media.formats._pixels import Decoded
from veridical.media.limits import Limits


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of a sequence."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    metadata = Metadata()
    with quiet():
        image = open_picture(data, "AVIF", limits)
        assert isinstance(image, AvifImagePlugin.AvifImageFile)
        frame_count = image.n_frames
        if exif := image.info.get("exif"):
            metadata.read_exif(exif, limits)
        metadata.read_xmp(image.info.get("xmp") or b"", limits)
        metadata.read_icc(image.info.get("icc_profile") or b"", limits)
    return decode_with_pillow(data, "AVIF", limits, metadata=metadata, frame_count=frame_count)
