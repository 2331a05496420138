"""AVIF and AVIF sequences: Pillow's libavif; imagecodecs' for stills in PQ and HLG, whose 10 bits Pillow drops.

Rotation and mirroring (`irot`, `imir`) come from Pillow as an EXIF orientation that replaces the one in the
file, as the standard wants; so they are applied once. A gain map has no part in the base picture, and one that
libavif refuses is hidden from it.
"""

from __future__ import annotations

from imagecodecs import avif_decode
from PIL import AvifImagePlugin

from veridical.errors import MediaError
from veridical.media.formats._bmff import is_cut, primary_space, without_gain_map
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pillow import cut_short, decode_with_pillow, open_picture, quiet
from veridical.media.formats._pixels import Decoded, turn_upright
from veridical.media.limits import Limits


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of a sequence."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    metadata = Metadata()
    with quiet():
        try:
            image = open_picture(data, "AVIF", limits)
        except (OSError, RuntimeError, SyntaxError, ValueError):
            if is_cut(data):
                raise cut_short() from None
            plain = without_gain_map(data)
            if plain is None:
                raise
            data, image = plain, open_picture(plain, "AVIF", limits)
        assert isinstance(image, AvifImagePlugin.AvifImageFile)
        frame_count = image.n_frames
        if exif := image.info.get("exif"):
            metadata.read_exif(exif, limits)
        metadata.read_xmp(image.info.get("xmp") or b"", limits)
        metadata.read_icc(image.info.get("icc_profile") or b"", limits)
    if metadata.icc is None:
        metadata.space = primary_space(data)
    if metadata.space is not None and metadata.space.is_hdr and frame_count == 1:
        return _decode_deep(data, metadata)
    return decode_with_pillow(data, "AVIF", limits, metadata=metadata, frame_count=frame_count)


def _decode_deep(data: bytes, metadata: Metadata) -> Decoded:
    """A still in all of its bits."""
    try:
        samples = avif_decode(data, numthreads=1)
    except (RuntimeError, ValueError) as error:
        raise MediaError(f"The AVIF picture is damaged: {error}", code="malformed") from error
    maximum = 255 if samples.dtype.itemsize == 1 else _maximum(int(samples.max()))
    rgb = turn_upright(array_to_rgb(samples, metadata, maximum), metadata.orientation)
    return Decoded((rgb,), warnings=(PARTIAL,) if metadata.partial else (), metadata=metadata.blocks)


def _maximum(largest: int) -> int:
    """The largest value of a sample of 10, 12 or 16 bits, of which imagecodecs does not tell the number."""
    return next(maximum for maximum in (1023, 4095, 65535) if largest <= maximum)
