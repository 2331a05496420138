"""JPEG and the first picture of an MPO: simplejpeg, Pillow for the words about what simplejpeg cannot read.

What libjpeg says of the data is heard. Data that make no sense to it leave a picture with the warning
`damaged`; a picture that lacks only its end marker is whole and has `no_end_marker`; where more is missing, it
is `truncated`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata, is_sound_ifd
from veridical.media.formats._pixels import Decoded, check_size, turn_upright
from veridical.media.limits import Limits

# The last fill byte of a marker and its code; not a stuffed 0xFF in the data of a scan, not a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_RESTARTS = range(0xD0, 0xD8)
_SOI, _EOI, _SOS, _APP1, _APP2, _JPEG_LS = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xF7
_SPACES = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_END = b"\xff\xd9"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_ICC = b"ICC_PROFILE\x00"
_PADDING = b"\x00\xff\r\n"

DAMAGED = "damaged"
NO_END_MARKER = "no_end_marker"
# libjpeg counts surplus bytes before a marker. Some cameras pad the last scan with a few; before a segment that
# is no scan they are a segment of a wrong length, which `metadata_partial` names. All others are damage.
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_MOST_PADDING = 16
_HARMLESS = ("JFIF", "Adobe", "thumbnail", "Invalid SOS parameters")
# Of an Ultra HDR picture its gain map follows, of a motion photo its clip; both say so in their XMP.
_COMPANIONS_IN_XMP = (b"hdrgm:", b"MotionPhoto", b"MicroVideo", b"ns.google.com/photos/1.0/container")


@dataclass
class _Structure:
    """The markers of a JPEG, from the first to the end of the picture."""

    width: int = 0
    height: int = 0
    precision: int = 0
    components: int = 0
    scans: int = 0
    multi_picture: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    icc_parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    is_jpeg_ls: bool = False
    is_progressive: bool = False
    ids: bytes = b""
    lowest_bits: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def has_all_coefficients(self) -> bool:
        """Whether the scans together bring every coefficient of every component to its last bit."""
        count = 64 if self.is_progressive else 1
        return all(self.lowest_bits.get((name, place)) == 0 for name in self.ids for place in range(count))


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, exact: no fast DCT, no fast upsampling, no scaled decoding."""
    structure = _read_structure(data, limits)
    check_size(structure.width, structure.height, limits)
    if structure.scans > limits.max_jpeg_scans:
        raise MediaError(f"The picture comes in more than {limits.max_jpeg_scans} scans.", code="too_large")
    _refuse_rare_kinds(structure)
    decoded = _decode_exact(data, structure)
    if decoded is None:
        from veridical.media.formats._pillow import decode_with_pillow

        decoded = decode_with_pillow(data, "JPEG", limits, metadata=structure.metadata)
    if structure.end and not structure.multi_picture and _is_foreign(data[structure.end :], structure):
        return replace(decoded, warnings=(*decoded.warnings, "trailing_data"))
    return decoded


def _refuse_rare_kinds(structure: _Structure) -> None:
    """Say in true words what no decoder here can read."""
    if structure.is_jpeg_ls:
        raise MediaError("This is a JPEG-LS picture, which is not judged.", code="unsupported_format")
    if structure.components and not structure.height and structure.width:
        raise MediaError(
            "The JPEG states its height only after its pixels (DNL), which is not judged.",
            code="unsupported_format",
        )
    if structure.precision not in (0, 8, 12):
        raise MediaError(
            f"This is a JPEG of {structure.precision} bits a sample; 8 and 12 are judged.",
            code="unsupported_format",
        )


def _decode_exact(data: bytes, structure: _Structure) -> Decoded | None:
    """The picture from simplejpeg, or `None` where Pillow has to look."""
    if structure.components not in _SPACES or not structure.scans:
        return None
    metadata = structure.metadata
    if structure.precision == 12:
        if structure.end is None:
            _refuse_cut()  # whether only the marker is missing, the decoder of 12 bits does not tell
        rgb = _decode_12_bits(data, structure)
        warnings = (*_notes(metadata), *(() if structure.has_all_coefficients else (DAMAGED,)))
        return Decoded((turn_upright(rgb, metadata.orientation),), (0,), 1, warnings, metadata.blocks)
    ended = data if structure.end else data + _END
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(ended)
        if (width, height) != (structure.width, structure.height):
            return None
        pixels, notes = _decode_listening(ended, structure)
    except ValueError:
        return None
    rgb = turn_upright(_samples_to_rgb(pixels, metadata), metadata.orientation)
    return Decoded((rgb,), (0,), 1, (*_notes(metadata), *notes), metadata.blocks)


def _decode_listening(data: bytes, structure: _Structure) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The pixels, and libjpeg's complaints as warnings; decoded twice only where it has any."""
    space = _SPACES[structure.components]
    notes: tuple[str, ...] = () if structure.end else (NO_END_MARKER,)
    try:
        pixels = simplejpeg.decode_jpeg(data, space)
    except ValueError as error:
        pixels = simplejpeg.decode_jpeg(data, space, strict=False)
        if not _is_harmless(str(error), data, structure):
            notes = (DAMAGED,)
    if notes == () and not structure.has_all_coefficients:
        notes = (DAMAGED,)
    if structure.end is None and notes == (DAMAGED,):
        _refuse_cut()
        notes = ()
    return pixels, notes


def _is_harmless(complaint: str, data: bytes, structure: _Structure) -> bool:
    """Whether libjpeg minds only what has no part in the pixels: see `_SURPLUS`."""
    found = _SURPLUS.search(complaint)
    if found is None:
        return any(known in complaint for known in _HARMLESS)
    count, marker = int(found[1]), int(found[2], 16)
    if marker != _EOI:
        return marker not in _RESTARTS and structure.metadata.partial
    end = structure.end or len(data)
    return count <= _MOST_PADDING and not data[end - 2 - count : end - 2].strip(b"\x00\xff")


def _refuse_cut() -> None:
    """Refuse a picture of which the end is missing, unless this process was told to take it as it is."""
    from PIL import ImageFile

    from veridical.media.formats._pillow import cut_short

    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        raise cut_short()


def _samples_to_rgb(pixels: NDArray[np.uint8], metadata: Metadata) -> NDArray[np.uint8]:
    if pixels.shape[2] < 4:
        return array_to_rgb(pixels, metadata)
    from PIL import Image

    from veridical.media.formats._colour import image_to_rgb

    # Adobe's programs store the complement, and all others do as they.
    return image_to_rgb(Image.fromarray(255 - pixels, "CMYK"), metadata)


def _decode_12_bits(data: bytes, structure: _Structure) -> NDArray[np.uint8]:
    import imagecodecs

    try:
        samples = imagecodecs.jpeg8_decode(data)
    except (RuntimeError, ValueError) as error:
        raise MediaError(f"The JPEG of 12 bits a sample is damaged: {error}", code="malformed") from error
    if samples.ndim == 3 and samples.shape[2] == 4:
        raise MediaError("CMYK of 12 bits a sample is not judged.", code="unsupported_format")
    return array_to_rgb(samples, structure.metadata, 4095)


def _notes(metadata: Metadata) -> tuple[str, ...]:
    return (PARTIAL,) if metadata.partial else ()


def _is_foreign(rest: bytes, structure: _Structure) -> bool:
    """Whether what follows the picture is no companion of it: a gain map, a film clip, a maker's notes."""
    if not rest.strip(_PADDING):
        return False
    xmp = structure.metadata.xmp or b""
    if any(name in xmp for name in _COMPANIONS_IN_XMP):
        return False
    return not (rest.endswith(b"SEFT") or rest[4:8] == b"ftyp" and b"mdat" in rest)


def _read_structure(data: bytes, limits: Limits) -> _Structure:
    structure = _Structure()
    at = 2
    while match := _MARKER.search(data, at):
        code, start = data[match.start() + 1], match.end()
        if structure.scans == 0 and data[at : match.start()].strip(b"\xff"):
            structure.metadata.partial = True  # bytes between segments: some metadata has a wrong length
        if code == _EOI:
            structure.end = start
            break
        if code in (_SOI, 0x01):
            at = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        if length < 2 or start + length > len(data):
            break
        _read_segment(code, data[start + 2 : start + length], structure, limits)
        at = start + length
    _join_icc(structure, limits)
    return structure


def _read_segment(code: int, body: bytes, structure: _Structure, limits: Limits) -> None:
    metadata = structure.metadata
    if code in _FRAMES and len(body) >= 6 and not structure.width:
        structure.precision, structure.height, structure.width, structure.components = struct.unpack_from(
            ">BHHB", body
        )
        structure.is_progressive = code in _PROGRESSIVE
        structure.ids = body[6::3][: structure.components]
    elif code == _JPEG_LS:
        structure.is_jpeg_ls = True
    elif code == _SOS:
        structure.scans += 1
        _read_scan(body, structure)
    elif code == _APP1 and body.startswith(b"Exif\x00"):
        metadata.read_exif(body, limits)
    elif code == _APP1 and body.startswith(_XMP):
        metadata.read_xmp(body.removeprefix(_XMP), limits)
    elif code == _APP2 and body.startswith(_ICC) and len(body) >= len(_ICC) + 2:
        structure.icc_parts.setdefault(body[len(_ICC)], body[len(_ICC) + 2 :])
    elif code == _APP2 and body.startswith(b"MPF\x00"):
        structure.multi_picture = True
        metadata.partial |= not is_sound_ifd(body[4:])


def _read_scan(body: bytes, structure: _Structure) -> None:
    """Note to which bit the scan brings which coefficients of which components."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        return
    first, last, approximation = body[1 + 2 * count : 4 + 2 * count]
    lowest = approximation & 15 if structure.is_progressive else 0
    for component in body[1 : 1 + 2 * count : 2]:
        for place in range(first, min(last, 63) + 1) if structure.is_progressive else (0,):
            structure.lowest_bits[component, place] = lowest


def _join_icc(structure: _Structure, limits: Limits) -> None:
    numbers = sorted(structure.icc_parts)
    if numbers != list(range(1, len(numbers) + 1)):
        structure.metadata.partial = True
        return
    structure.metadata.read_icc(b"".join(structure.icc_parts[number] for number in numbers), limits)
