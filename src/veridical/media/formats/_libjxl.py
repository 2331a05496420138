"""The colours of a JPEG XL file, asked of libjxl through the library that imagecodecs carries.

imagecodecs gives the pixels alone; in which colours they are, only the decoder knows: libjxl turns what was
stored as XYB into a space of its own choice.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from imagecodecs import _jpegxl

from veridical.media.formats._spaces import PRIMARIES, Point, Space

_BASIC_INFO, _COLOR_ENCODING = 0x40, 0x100
_OF_THE_PIXELS = 1
_GREY = 1
_WHITES: dict[int, Point] = {1: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_TRANSFERS = {8: ("gamma", 1.0), 13: ("srgb", 0.0), 16: ("pq", 0.0), 17: ("dci", 0.0), 18: ("hlg", 0.0)}


class _Encoding(ctypes.Structure):
    _fields_ = (
        ("color_space", ctypes.c_int),
        ("white_point", ctypes.c_int),
        ("white", ctypes.c_double * 2),
        ("primaries", ctypes.c_int),
        ("red", ctypes.c_double * 2),
        ("green", ctypes.c_double * 2),
        ("blue", ctypes.c_double * 2),
        ("transfer", ctypes.c_int),
        ("gamma", ctypes.c_double),
        ("intent", ctypes.c_int),
    )


class _BasicInfo(ctypes.Structure):
    _fields_ = (
        ("container_and_size", ctypes.c_uint32 * 3),
        ("bits", ctypes.c_uint32),
        ("before", ctypes.c_uint32 * 13),
        ("alpha_premultiplied", ctypes.c_int),
        ("after", ctypes.c_uint32 * 64),
    )


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(_jpegxl.__file__)  # a name that it lacks is looked for in the libraries it needs
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    signatures = {
        "JxlDecoderCreate": (pointer, [pointer]),
        "JxlDecoderDestroy": (None, [pointer]),
        "JxlDecoderSubscribeEvents": (ctypes.c_int, [pointer, ctypes.c_int]),
        "JxlDecoderSetInput": (ctypes.c_int, [pointer, ctypes.c_char_p, size]),
        "JxlDecoderProcessInput": (ctypes.c_int, [pointer]),
        "JxlDecoderGetBasicInfo": (ctypes.c_int, [pointer, pointer]),
        "JxlDecoderGetColorAsEncodedProfile": (ctypes.c_int, [pointer, ctypes.c_int, pointer]),
        "JxlDecoderGetICCProfileSize": (ctypes.c_int, [pointer, ctypes.c_int, pointer]),
        "JxlDecoderGetColorAsICCProfile": (ctypes.c_int, [pointer, ctypes.c_int, pointer, size]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_LIBRARY = _load()


@dataclass(frozen=True)
class Colour:
    """In which colours the pixels come: a space in numbers, or a profile; whether alpha is multiplied in.

    `bits` are those of a sample as the file states them, 0 where that is not known.
    """

    space: Space | None = None
    icc: bytes | None = None
    is_premultiplied: bool = False
    bits: int = 0


def read_colour(data: bytes, most_bytes: int) -> Colour:
    """The colour of the pixels as libjxl gives them; a profile of more than `most_bytes` is not read."""
    decoder = _LIBRARY.JxlDecoderCreate(None)
    try:
        _LIBRARY.JxlDecoderSubscribeEvents(decoder, _BASIC_INFO | _COLOR_ENCODING)
        _LIBRARY.JxlDecoderSetInput(decoder, data, len(data))
        info = _BasicInfo()
        status = _LIBRARY.JxlDecoderProcessInput(decoder)
        if status == _BASIC_INFO:
            _LIBRARY.JxlDecoderGetBasicInfo(decoder, ctypes.byref(info))
            status = _LIBRARY.JxlDecoderProcessInput(decoder)
        if status != _COLOR_ENCODING:
            return Colour()
        space = _read_space(decoder)
        return Colour(space, _read_profile(decoder, most_bytes), bool(info.alpha_premultiplied), info.bits)
    finally:
        _LIBRARY.JxlDecoderDestroy(decoder)


def _read_space(decoder: int) -> Space | None:
    encoding = _Encoding()
    if _LIBRARY.JxlDecoderGetColorAsEncodedProfile(decoder, _OF_THE_PIXELS, ctypes.byref(encoding)):
        return None
    if encoding.transfer == 65535:
        transfer = ("gamma", 1 / encoding.gamma)
    elif encoding.transfer in _TRANSFERS:
        transfer = _TRANSFERS[encoding.transfer]
    else:
        transfer = ("srgb", 0.0)
    white = _WHITES.get(encoding.white_point, (encoding.white[0], encoding.white[1]))
    if encoding.color_space == _GREY:
        return Space((*PRIMARIES[1][:3], PRIMARIES[1][3]), *transfer)
    if encoding.primaries in (1, 9, 11):
        red, green, blue = PRIMARIES[encoding.primaries][:3]
    else:
        red, green, blue = ((p[0], p[1]) for p in (encoding.red, encoding.green, encoding.blue))
    return Space((red, green, blue, white), *transfer)


def _read_profile(decoder: int, most_bytes: int) -> bytes | None:
    size = ctypes.c_size_t()
    if _LIBRARY.JxlDecoderGetICCProfileSize(decoder, _OF_THE_PIXELS, ctypes.byref(size)):
        return None
    if not 0 < size.value <= most_bytes:
        return None
    profile = ctypes.create_string_buffer(size.value)
    if _LIBRARY.JxlDecoderGetColorAsICCProfile(decoder, _OF_THE_PIXELS, profile, size.value):
        return None
    return profile.raw
