"""HEIC/HEIF: the primary picture, by pi-heif; libheif turns it upright itself."""

from __future__ import annotations

import numpy as np
import pi_heif

from veridical.errors import MediaError
from veridical.media.formats._bmff import is_cut, primary_space
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pillow import cut_short
from veridical.media.formats._pixels import Decoded, check_size, unmultiply
from veridical.media.limits import Limits


def decode(data: bytes, limits: Limits) -> Decoded:
    """The primary picture; bursts and collections hold others, which are not judged."""
    pi_heif.options.DECODE_THREADS = 1
    try:
        heif = pi_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    except (ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise MediaError(f"No picture can be found in the file: {error}", code="unsupported_format") from error
    picture = heif[heif.primary_index]
    width, height = picture.size
    check_size(width, height, limits)
    metadata = Metadata()
    metadata.read_exif_apart(picture.info.get("exif") or b"", limits)
    metadata.read_xmp(picture.info.get("xmp") or b"", limits)
    metadata.read_icc(picture.info.get("icc_profile") or b"", limits)
    if metadata.icc is None:
        metadata.space = primary_space(data)
    # A copy: pi-heif's memory is freed with its picture, though numpy still points to it.
    try:
        samples = np.array(picture)[:, :width]
    except (ValueError, SyntaxError, EOFError, RuntimeError):
        if is_cut(data):
            raise cut_short() from None
        raise
    maximum = 2 ** picture.info.get("bit_depth", 16) - 1 if samples.dtype == np.uint16 else 255
    notes = (metadata.partial, PARTIAL), (len(heif) > 1, "frames_limited")
    if picture.mode == "RGBa":
        samples = unmultiply(samples, maximum)
    pixels = array_to_rgb(samples, metadata, maximum)
    warnings = tuple(note for applies, note in notes if applies)
    return Decoded((pixels,), (0,), len(heif), warnings, metadata.blocks)
