"""The program inside the fence: one decoder on one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media.decoding import decode
from veridical.media.limits import Limits

# `Any`: the options are JSON, written by `sandbox.decode_fenced`.
Options = dict[str, Any]


def load(options: Options) -> None:
    """Import everything that decoding may need, while files can still be opened."""
    import encodings.ascii
    import encodings.latin_1
    import encodings.utf_16  # noqa: F401 - text in TIFF and EXIF is decoded with these

    from PIL import Image, ImageCms, ImageFile, MpoImagePlugin  # noqa: F401 - asked for by profiles and by some JPEGs

    from veridical.media.formats._pillow import PLUGINS

    Image.preinit()
    for plugin in PLUGINS.values():
        import_module(f"PIL.{plugin}")
    import_module(f"veridical.media.formats.{options['format']}")
    ImageFile.LOAD_TRUNCATED_IMAGES = options["allow_truncated"]


def run(data: bytes, options: Options) -> tuple[dict[str, object], Sequence[NDArray[np.uint8] | bytes]]:
    """The frames, and a header that says what they are; or a header with the error."""
    try:
        decoded = decode(data, options["format"], Limits(**options["limits"]))
    except MediaError as error:
        return {"error": error.code, "message": error.message, "hint": error.hint}, ()
    frames = [np.ascontiguousarray(frame) for frame in decoded.frames]
    blocks = asdict(decoded.metadata)
    warnings = (*decoded.warnings, "truncated") if options["allow_truncated"] else decoded.warnings
    header: dict[str, object] = {
        "shapes": [frame.shape[:2] for frame in frames],
        "frame_indices": decoded.frame_indices,
        "frame_count": decoded.frame_count,
        "warnings": warnings,
        "metadata": {name: None if block is None else len(block) for name, block in blocks.items()},
    }
    return header, [*frames, *(block for block in blocks.values() if block is not None)]
