"""Veridical: was this image or video made by AI?

The public names load on first use, so that `import veridical` and `veridical --help` stay light.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veridical.analysis import analyse
    from veridical.detectors import list_detectors, load_detector
    from veridical.media import Image, open_media
    from veridical.results import Report

__version__ = "0.1.0"
__all__ = ["Image", "Report", "analyse", "list_detectors", "load_detector", "open_media"]

# Libraries that call home unless they are told not to, before they are first imported: ONNX Runtime (which on
# Linux also writes a device id under the user's cache), huggingface-hub with all that stands on it, and ray.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

_HOME = {
    "Image": "veridical.media",
    "Report": "veridical.results",
    "analyse": "veridical.analysis",
    "list_detectors": "veridical.detectors",
    "load_detector": "veridical.detectors",
    "open_media": "veridical.media",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'veridical' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
