"""TIFF: the page that is the picture, by Pillow; more than 8 bits by imagecodecs, whose libtiff keeps them.

Further pages are other pictures, not frames of this one. A first page that is a smaller copy gives way to the
picture; camera raw is refused, since its preview is not the photograph. Grey of floats is taken as [0, 1], or
as [0, 255] where some are above 1; colours of 32 bits and of floats are refused: programs do not
agree where white lies in them.
"""

from __future__ import annotations

import numpy as np
from imagecodecs import tiff_decode
from numpy.typing import NDArray
from PIL import ImageFile, TiffImagePlugin, UnidentifiedImageError

from veridical.errors import MediaError
from veridical.media.formats import _tiff
from veridical.media.formats._colour import array_to_rgb, image_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pillow import LIMITED, cut_short, open_picture, quiet
from veridical.media.formats._pixels import Decoded, check_size, turn_upright, unmultiply
from veridical.media.limits import Limits

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_KINDS = {_UNSIGNED: "whole numbers", _SIGNED: "signed numbers", _FLOAT: "floating-point numbers"}
_ASSOCIATED, _UNASSOCIATED = 1, 2


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, upright."""
    pages = _tiff.read_pages(data)
    if _tiff.is_cut(data):
        raise cut_short()
    if _tiff.is_camera_raw(data, pages):
        raise _tiff.camera_raw()
    page = _tiff.choose_page(pages) if pages else None
    if page is not None and page is not pages[0]:
        data = _tiff.beginning_at(data, page)
    metadata = Metadata()
    if page is not None:
        metadata.read_xmp(page.blocks.get(_tiff.XMP, b""), limits)
        metadata.read_icc(page.blocks.get(_tiff.ICC, b""), limits)
    if page is not None and _is_deep(page) and not ImageFile.LOAD_TRUNCATED_IMAGES:
        check_size(*page.size, limits)
        pixels = _decode_deep(data, page, metadata)
    else:
        try:
            pixels, count = _decode_plain(data, metadata, limits)
        except UnidentifiedImageError:
            if page is None or min(page.size) < 1 or page.first(_tiff.BITS, 1) <= 8:
                raise
            raise _not_judged(page) from None
        if page is None:
            return _decoded(pixels, count, metadata)
    # A smaller copy is no further picture.
    others = [other for other in pages if other.is_main and not (other.is_reduced or other.is_mask)]
    return _decoded(pixels, max(1, len(others)), metadata)


def _decoded(pixels: NDArray[np.uint8], count: int, metadata: Metadata) -> Decoded:
    notes = (metadata.partial, PARTIAL), (count > 1, LIMITED)
    warnings = tuple(note for applies, note in notes if applies)
    return Decoded((pixels,), (0,), count, warnings, metadata.blocks)


def _is_deep(page: _tiff.Page) -> bool:
    """Whether samples of more than 8 bits decide; 12 bits of grey, and CMYK, are left to Pillow."""
    bits = page.first(_tiff.BITS, 1)
    is_packed = bits == 12 and page.first(_tiff.SAMPLES, 1) == 1
    is_known = page.first(_tiff.PHOTOMETRIC, _BLACK_IS_ZERO) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    return min(page.size) > 0 and bits > 8 and is_known and not is_packed


def _decode_plain(data: bytes, metadata: Metadata, limits: Limits) -> tuple[NDArray[np.uint8], int]:
    """The first page, turned upright by Pillow itself; the number of pages."""
    with quiet():
        image = open_picture(data, "TIFF", limits)
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        bits = image.tag_v2.get(_tiff.BITS, (8,))[0]
        pages = image.n_frames
        image.seek(0)
        return image_to_rgb(image, metadata, maximum=2**bits - 1 if 8 < bits < 16 else 65535), pages


def _decode_deep(data: bytes, page: _tiff.Page, metadata: Metadata) -> NDArray[np.uint8]:
    kind = page.first(_tiff.SAMPLE_FORMAT, _UNSIGNED)
    photometric, bits = page.first(_tiff.PHOTOMETRIC, _BLACK_IS_ZERO), page.first(_tiff.BITS, 1)
    count = page.first(_tiff.SAMPLES, 1)
    is_grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    known = (
        (kind == _UNSIGNED and bits == 16)
        or (kind == _UNSIGNED and bits == 32 and is_grey)
        or (kind == _FLOAT and is_grey and count == 1)
    )
    if not known or len(set(page.tags.get(_tiff.BITS, ()))) > 1:
        raise _not_judged(page)
    try:
        samples = tiff_decode(data)
    except (RuntimeError, ValueError) as error:
        if "got" in str(error) and "expected" in str(error):  # libtiff counts the bytes that are missing
            raise cut_short() from error
        raise MediaError(f"The TIFF's pixels cannot be read: {error}", code="malformed") from error
    samples = _channels_last(samples, page, count)
    whole = _to_16_bits(samples)
    if photometric == _WHITE_IS_ZERO:
        whole[..., :1] = 65535 - whole[..., :1]
    whole = _with_known_alpha(whole, page, colours=1 if is_grey else 3)
    return turn_upright(array_to_rgb(whole, metadata, 65535), _orientation(page))


def _not_judged(page: _tiff.Page) -> MediaError:
    kind = _KINDS.get(page.first(_tiff.SAMPLE_FORMAT, _UNSIGNED), "samples")
    is_grey = page.first(_tiff.PHOTOMETRIC, _BLACK_IS_ZERO) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    return MediaError(
        f"This is a TIFF of {page.first(_tiff.BITS, 1)}-bit {kind} in {'grey' if is_grey else 'colour'}, "
        "which is not judged.",
        code="unsupported_format",
        hint="Save it with 8 or 16 bits a channel.",
    )


def _channels_last(samples: NDArray[np.generic], page: _tiff.Page, count: int) -> NDArray[np.generic]:
    """(h, w, channels) also where the planes lie one after another."""
    width, height = page.size
    if samples.shape == (count, height, width) and page.first(_tiff.PLANAR, 1) == 2:
        samples = np.moveaxis(samples, 0, 2)
    least = 3 if page.first(_tiff.PHOTOMETRIC, _BLACK_IS_ZERO) == _RGB else 1
    if samples.shape[:2] != (height, width) or count < least:
        raise MediaError("The TIFF's pixels are not laid out as its header says.", code="malformed")
    return samples.reshape(height, width, -1)


def _to_16_bits(samples: NDArray[np.generic]) -> NDArray[np.uint16]:
    if samples.dtype == np.uint16:
        return np.array(samples, np.uint16)
    if samples.dtype == np.uint32:
        return (samples.astype(np.uint32, copy=False) >> 16).astype(np.uint16)
    levels = np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    scale = 65535.0 if levels.max() <= 1.0 else 257.0
    whole: NDArray[np.uint16] = np.rint(np.clip(levels * scale, 0, 65535)).astype(np.uint16)
    return whole


def _with_known_alpha(samples: NDArray[np.uint16], page: _tiff.Page, colours: int) -> NDArray[np.uint16]:
    """Colours, and alpha where one of the further channels is stated to be it."""
    extra = page.tags.get(_tiff.EXTRA, ())
    for place, meaning in enumerate(extra[: samples.shape[2] - colours]):
        if meaning in (_ASSOCIATED, _UNASSOCIATED):
            kept = np.ascontiguousarray(samples[..., [*range(colours), colours + place]])
            return unmultiply(kept, 65535).astype(np.uint16) if meaning == _ASSOCIATED else kept
    return np.ascontiguousarray(samples[..., :colours])


def _orientation(page: _tiff.Page) -> int:
    stated = page.first(_tiff.ORIENTATION, 1)
    return stated if 1 <= stated <= 8 else 1
