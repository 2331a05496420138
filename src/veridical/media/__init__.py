"""The only decoder of untrusted bytes: a file or its bytes become an `Image`, or a `MediaError` with a code.

The names below are imported when they are first used, so that `veridical --help` and the listing of
files load neither numpy nor a decoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veridical.media.image import Image, open_media
    from veridical.media.limits import DEFAULT_LIMITS, Limits
    from veridical.media.sources import Item, find_items

__all__ = ["DEFAULT_LIMITS", "Image", "Item", "Limits", "find_items", "open_media"]

_MODULES = {
    "DEFAULT_LIMITS": "limits",
    "Image": "image",
    "Item": "sources",
    "Limits": "limits",
    "find_items": "sources",
    "open_media": "image",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
