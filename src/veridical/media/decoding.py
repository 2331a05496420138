"""Bytes of a known format become pixels, and every failure a `MediaError`; in this process or in a child."""

from __future__ import annotations

from importlib import import_module

from veridical.errors import MediaError, VeridicalError
from veridical.media.formats._pixels import Decoded
from veridical.media.limits import Limits


def decode(data: bytes, format: str, limits: Limits) -> Decoded:
    """The frames of `data`, which is of `format` by its magic number."""
    try:
        decoded = import_module(f"veridical.media.formats.{format}").decode(data, limits)
    except VeridicalError:
        raise
    except Exception as error:  # decoders raise of every kind, and each becomes a MediaError
        from veridical.media.formats._pillow import explain

        raise explain(error) from error
    assert isinstance(decoded, Decoded)
    _check_smallest_side(decoded, limits)
    return decoded


def _check_smallest_side(decoded: Decoded, limits: Limits) -> None:
    """After decoding, because "damaged" says more than "small", and a small picture costs nothing."""
    height, width = decoded.frames[0].shape[:2]
    if min(width, height) < limits.min_side:
        raise MediaError(
            f"The picture has {width} x {height} pixels; the short side needs at least {limits.min_side}.",
            code="too_small",
        )
