"""A small copy of a judged picture that a page can carry in itself."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veridical.media import Image

LONGEST_SIDE = 480


def data_uri(image: Image) -> str:
    """The picture as a JPEG `data:` URI, at most `LONGEST_SIDE` pixels long; it carries no metadata."""
    import PIL.Image

    small = PIL.Image.fromarray(image.pixels)
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    held = io.BytesIO()
    small.save(held, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
