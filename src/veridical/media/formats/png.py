"""PNG and APNG: imagecodecs for sound still pictures of 8 and 16 bits, Pillow for the rest.

The chunks are walked first. Decoders see only those that make pixels; text, profile and EXIF are read here,
within limits, so that nothing that inflates reaches a decoder.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace

import imagecodecs
import numpy as np

from veridical.errors import MediaError
from veridical.media.formats._colour import array_to_rgb
from veridical.media.formats._metadata import PARTIAL, Metadata
from veridical.media.formats._pixels import Decoded, check_size, turn_upright
from veridical.media.formats._spaces import SRGB_PRIMARIES, Point, Space, from_cicp, is_believable
from veridical.media.limits import Limits
from veridical.media.sniff import PNG_SIGNATURE

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
_XMP_KEYWORD = b"XML:com.adobe.xmp\x00"
# Chunks need twelve bytes each: a file of nothing else would take seconds to walk.
_MAX_CHUNKS = 100_000


@dataclass
class _Structure:
    """The chunks of a PNG."""

    width: int = 0
    height: int = 0
    depth: int = 0
    colour: int = 0
    interlaced: bool = False
    has_header: bool = False
    has_pixels: bool = False
    has_end: bool = False
    has_key: bool = False
    is_marked_srgb: bool = False
    cicp: bytes | None = None
    gamma: float | None = None
    chromaticities: tuple[Point, Point, Point, Point] | None = None
    is_animated: bool = False
    is_sound: bool = True
    is_cut: bool = False
    declared_frames: int = 0
    frame_controls: int = 0
    first_is_frame: bool = False
    text_bytes: int = 0
    metadata: Metadata = field(default_factory=Metadata)
    kept: list[bytes] = field(default_factory=list)
    trailing: bool = False

    @property
    def frame_count(self) -> int:
        """Frames that are really there, the default picture included when it is not one of the animation."""
        if not self.declared_frames:
            return 1
        hidden_default = 0 if self.first_is_frame else 1
        return max(1, hidden_default + min(self.declared_frames, self.frame_controls))


def decode(data: bytes, limits: Limits) -> Decoded:
    """The picture, or the sampled frames of an APNG."""
    if not data.startswith(PNG_SIGNATURE):
        raise MediaError("The PNG signature is damaged, as after a transfer in text mode.", code="malformed")
    structure = _read_structure(data, limits)
    check_size(structure.width, structure.height, limits)
    structure.metadata.space = _choose_space(structure)
    decoded = _decode_exact(structure) or _decode_rest(data, structure, limits)
    if structure.trailing:
        return replace(decoded, warnings=(*decoded.warnings, "trailing_data"))
    return decoded


def _choose_space(structure: _Structure) -> Space | None:
    """The colour space in numbers, if it counts: cICP first, then a profile, sRGB, gAMA and cHRM."""
    if structure.cicp is not None:
        primaries, transfer, matrix, full_range = structure.cicp
        space = from_cicp(primaries, transfer, is_full_range=full_range == 1) if matrix == 0 else None
        structure.metadata.partial |= space is None
        if space is not None:
            return space
    if structure.metadata.icc is not None or structure.is_marked_srgb:
        return None
    if structure.gamma is None and structure.chromaticities is None:
        return None
    chromaticities = structure.chromaticities or SRGB_PRIMARIES
    if structure.gamma is None:
        return Space(chromaticities)
    space = Space(chromaticities, "gamma", structure.gamma)
    # This gamma is what every program writes for sRGB, whose curve it approximates.
    return None if space.has_srgb_primaries and abs(structure.gamma - 2.2) < 0.03 else space


def _decode_exact(structure: _Structure) -> Decoded | None:
    """The picture from imagecodecs, or `None` where Pillow has to look."""
    simple = structure.depth in (8, 16) and structure.colour != 3 and not structure.interlaced
    if not (simple and structure.is_sound and structure.has_end) or structure.is_animated:
        return None
    if structure.depth == 8 and structure.has_key:
        return None
    try:
        samples = imagecodecs.png_decode(b"".join(structure.kept))
    except (RuntimeError, ValueError):
        return None
    metadata = structure.metadata
    maximum = 65535 if samples.dtype == np.uint16 else 255
    rgb = turn_upright(array_to_rgb(samples, metadata, maximum), metadata.orientation)
    return Decoded((rgb,), warnings=(PARTIAL,) if metadata.partial else (), metadata=metadata.blocks)


def _decode_rest(data: bytes, structure: _Structure, limits: Limits) -> Decoded:
    from veridical.media.formats._pillow import decode_with_pillow, explain

    try:
        return decode_with_pillow(
            b"".join(structure.kept) if structure.has_header else data,
            "PNG",
            limits,
            metadata=structure.metadata,
            frame_count=structure.frame_count,
        )
    except (SyntaxError, OSError) as error:
        if structure.is_cut:
            raise MediaError(
                "Bytes are missing: after the first pixel data no further chunk can be found.", code="truncated"
            ) from error
        # With a sound header it is a PNG for certain, whatever is wrong after it.
        raise explain(error, damaged="malformed" if structure.has_header else "unsupported_format") from error


def _read_structure(data: bytes, limits: Limits) -> _Structure:
    structure = _Structure(kept=[PNG_SIGNATURE])
    at, count = len(PNG_SIGNATURE), 0
    while at < len(data) and not structure.has_end:
        count += 1
        if count > _MAX_CHUNKS:
            raise MediaError(f"The file has more than {_MAX_CHUNKS:,} chunks.", code="malformed")
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if count == 1 and not _read_header(data, structure):
            return structure
        if end > len(data) or not name.isalpha():
            structure.is_sound = False
            structure.is_cut = structure.has_pixels and not name.isalpha()
            structure.kept.append(data[at:])
            return structure
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(data[end - 4 : end], "big"):
            structure.is_sound = False
        _read_chunk(name, body, structure, limits)
        if name in _PIXEL_CHUNKS or not name[0] & 0x20:
            structure.kept.append(data[at:end])
        at = end
    structure.trailing = structure.has_end and bool(data[at:].strip(b"\x00\r\n"))
    return structure


def _read_header(data: bytes, structure: _Structure) -> bool:
    """Read IHDR; False when the file ends before the chunk does, or holds no chunk at all."""
    length, name, body, crc = data[8:12], data[12:16], data[16:29], data[29:33]
    if name != b"IHDR":
        if name.isalpha() or b"IHDR" in data[:40]:
            raise MediaError("The PNG does not begin with its header.", code="malformed")
        return False
    if len(crc) < 4:
        return False
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    is_valid = (
        int.from_bytes(length, "big") == 13
        and zlib.crc32(name + body) == int.from_bytes(crc, "big")
        and depth in _DEPTHS.get(colour, ())
        and (compression, filtering) == (0, 0)
        and interlace in (0, 1)
        and min(width, height) > 0
    )
    if not is_valid:
        raise MediaError("The PNG header is damaged.", code="malformed")
    structure.width, structure.height, structure.depth, structure.colour = width, height, depth, colour
    structure.interlaced, structure.has_header = bool(interlace), True
    return True


def _read_chunk(name: bytes, body: bytes, structure: _Structure, limits: Limits) -> None:
    metadata = structure.metadata
    if name == b"IDAT":
        structure.has_pixels = True
    elif name == b"IEND":
        structure.has_end = True
    elif name == b"tRNS":
        structure.has_key = True
    elif name == b"acTL":
        structure.is_animated = True
        if len(body) == 8 and not structure.has_pixels:
            structure.declared_frames = int.from_bytes(body[:4], "big")
    elif name == b"fcTL":
        structure.frame_controls += 1
        structure.first_is_frame |= not structure.has_pixels
    elif name == b"eXIf":
        metadata.read_exif(body, limits)
    elif name in (b"sRGB", b"cICP", b"gAMA", b"cHRM"):
        _read_numbers(name, body, structure)
    elif name == b"iCCP":
        _read_profile(body, structure, limits)
    elif name in (b"tEXt", b"zTXt", b"iTXt"):
        _read_text(name, body, structure, limits)


def _read_numbers(name: bytes, body: bytes, structure: _Structure) -> None:
    """The chunks that state the colour space in numbers; the first of a kind counts."""
    if name == b"sRGB":
        structure.is_marked_srgb = True
    elif name == b"cICP" and len(body) == 4:
        structure.cicp = structure.cicp or body
    elif name == b"gAMA" and len(body) == 4 and 1_000 <= int.from_bytes(body, "big") <= 1_000_000:
        structure.gamma = structure.gamma or 100_000 / int.from_bytes(body, "big")
    elif name == b"cHRM" and len(body) == 32:
        values = [number / 100_000 for number in struct.unpack(">8I", body)]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        if is_believable((red, green, blue, white)):
            structure.chromaticities = structure.chromaticities or (red, green, blue, white)
        else:
            structure.metadata.partial = True
    else:
        structure.metadata.partial = True


def _read_profile(body: bytes, structure: _Structure, limits: Limits) -> None:
    if structure.metadata.icc is not None:
        structure.metadata.partial = True
        return
    profile = _inflate(body.partition(b"\x00")[2][1:], limits.max_icc_bytes)
    if profile is None:
        structure.metadata.partial = True
    else:
        structure.metadata.read_icc(profile, limits)


def _read_text(name: bytes, body: bytes, structure: _Structure, limits: Limits) -> None:
    """Nothing is taken from text; it is measured, and XMP among it looked at."""
    rest = body.partition(b"\x00")[2]
    text: bytes | None = rest
    if name == b"zTXt":
        text = _inflate(rest[1:], limits.max_text_bytes)
    elif name == b"iTXt":
        text = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
        if rest[:1] == b"\x01":
            text = _inflate(text, limits.max_text_bytes)
    if text is None or len(text) > limits.max_text_bytes:
        structure.metadata.partial = True
        return
    structure.text_bytes += len(text)
    if structure.text_bytes > limits.max_text_bytes_in_all:
        raise MediaError("The text in the file inflates beyond every measure.", code="malformed")
    if body.startswith(_XMP_KEYWORD):
        structure.metadata.read_xmp(text, limits)


def _inflate(packed: bytes, limit: int) -> bytes | None:
    """The inflated bytes, or `None` if they are damaged; a bomb is refused, never inflated beyond `limit`."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(packed, limit + 1)
    except zlib.error:
        return None
    if len(inflated) > limit:
        raise MediaError(f"Metadata inflates beyond {limit:,} bytes.", code="malformed")
    return inflated
