"""The first bytes of a file name its format; this table is the allow-list.

What is not in the table is never shown to a decoder, whatever the file is called.
"""

from __future__ import annotations

import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", "jxl"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_GENERIC_BRANDS = {b"mif1", b"msf1"}

# Camera raw that is no TIFF to any reader: Fujifilm, Olympus, Panasonic, Sigma, Minolta; CR3 by its brand.
_CAMERA_RAW = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FOVb", b"\x00MRM")

# What trained parameters come in. A pickle is only named; nothing here reads one.
_CHECKPOINTS = (
    (b"GGUF", "GGUF checkpoint"),
    (b"lmgg", "GGML checkpoint"),
    (b"tjgg", "GGML checkpoint"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 file, perhaps a Keras checkpoint"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x80\x02", "Python pickle, perhaps a PyTorch checkpoint"),
    (b"\x80\x03", "Python pickle, perhaps a PyTorch checkpoint"),
    (b"\x80\x04", "Python pickle, perhaps a PyTorch checkpoint"),
    (b"\x80\x05", "Python pickle, perhaps a PyTorch checkpoint"),
)

_REFUSED = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"PK\x05\x06", "ZIP archive"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!", "RAR archive"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"DDS ", "DDS texture"),
    (b"BLP1", "BLP texture"),
    (b"BLP2", "BLP texture"),
    (b"\x01\xda", "SGI picture"),
    (b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"qoif", "QOI picture"),
    (b"\xd0\xcf\x11\xe0", "Microsoft Office (OLE)"),
    (b"AT&TFORM", "DjVu"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\x1a\x45\xdf\xa3", "WebM/Matroska video"),
    (b"FLV", "Flash video"),
    (b"#EXTM3U", "playlist"),
    (b"ffconcat", "FFmpeg script"),
    (b"GIMP Palette", "GIMP palette"),
    (b"push graphic-context", "ImageMagick script"),
)

# Where a refused picture keeps (width, height): format and offset of each, to say of a bomb that it is one.
_REFUSED_SIZES = {
    b"DDS ": ("<I", 16, 12),
    b"BLP1": ("<I", 12, 16),
    b"BLP2": ("<I", 12, 16),
    b"8BPS": (">I", 18, 14),
    b"\x01\xda": (">H", 6, 8),
    b"qoif": (">I", 4, 8),
}


def sniff(data: bytes) -> str | None:
    """The format in which `data` claims to be, or `None` when that is not one we open.

    A PNG signature damaged in one byte or by a text-mode transfer still counts as PNG, so that the answer
    is "damaged PNG" rather than "unknown".

    >>> sniff(b"GIF89a..."), sniff(b"%PDF-1.7")
    ('gif', None)
    """
    if _is_png_like(data):
        return "png"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    return None


def describe(data: bytes) -> str:
    """The kind of file that refused bytes look like, for a message.

    >>> describe(b"<!DOCTYPE html><html>"), describe(b"PK\\x03\\x04")
    ('HTML', 'ZIP archive')
    """
    if name := _describe_checkpoint(data):
        return name
    for magic, name in _REFUSED:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "AVI video"
    if data[4:8] == b"ftyp":
        return "MP4/QuickTime video"
    return _describe_text(data[:1024])


def is_camera_raw(data: bytes) -> bool:
    """Whether refused bytes are a camera's raw file; raw files that are TIFFs are told from pictures inside.

    >>> is_camera_raw(b"FUJIFILMCCD-RAW 0201"), is_camera_raw(b"GIF89a")
    (True, False)
    """
    return data.startswith(_CAMERA_RAW) or data[4:12] == b"ftypcrx "


def refused_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels that the header of a refused picture states, where we know the place."""
    for magic, (number, width_at, height_at) in _REFUSED_SIZES.items():
        if data.startswith(magic) and len(data) >= max(width_at, height_at) + struct.calcsize(number):
            return struct.unpack_from(number, data, width_at)[0], struct.unpack_from(number, data, height_at)[0]
    return None


def _is_png_like(data: bytes) -> bool:
    if data and PNG_SIGNATURE.startswith(data[:8]):
        return True
    return len(data) > 8 and sum(a == b for a, b in zip(data[:4], PNG_SIGNATURE[:4], strict=True)) >= 3


def _sniff_brands(data: bytes) -> str | None:
    box_end = min(int.from_bytes(data[:4], "big"), 4096, len(data))
    major = data[8:12]
    if major in _AVIF_BRANDS:
        return "avif"
    if major in _HEIC_BRANDS:
        return "heic"
    if major in _GENERIC_BRANDS:
        compatible = {data[at : at + 4] for at in range(16, box_end, 4)}
        return "avif" if compatible & _AVIF_BRANDS else "heic"
    return None


def _describe_checkpoint(data: bytes) -> str | None:
    if data.startswith(b"PK\x03\x04") and b"/data.pkl" in data[:256]:
        return "PyTorch checkpoint"
    if data[8:10] == b'{"' and 2 <= int.from_bytes(data[:8], "little") <= 100_000_000:
        return "safetensors checkpoint"
    # The first field of an ONNX model is its version, the second who made it or its graph.
    if data[:1] == b"\x08" and data[1:2] and 1 <= data[1] <= 20 and data[2:3] in (b"\x12", b"\x1a", b"\x3a"):
        return "ONNX model"
    return next((name for magic, name in _CHECKPOINTS if data.startswith(magic)), None)


def _describe_text(start: bytes) -> str:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "SVG"
    if text.startswith((b"<!doctype html", b"<html", b"<script")):
        return "HTML"
    if text.startswith(b"<"):
        return "XML or HTML"
    if start and not any(byte < 9 or 13 < byte < 27 for byte in start):
        return "text"
    return "unknown bytes"
