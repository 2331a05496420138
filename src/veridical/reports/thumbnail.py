"""A small copy of a judged picture that a page can carry in itself."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from veridical.media import Image

LONGEST_SIDE = 480


def data_uri(image: Image) -> str:
    """The picture as a JPEG `data:` URI, at most `LONGEST_SIDE` pixels long; it carries no metadata."""
    return jpeg_data_uri(image.pixels, longest_side=LONGEST_SIDE)


def jpeg_data_uri(pixels: NDArray[np.uint8], *, longest_side: int) -> str:
    """A JPEG `data:` URI of uint8 pixels, (height, width, 3), made at most `longest_side` long."""
    import PIL.Image

    small = PIL.Image.fromarray(pixels)
    small.thumbnail((longest_side, longest_side))
    held = io.BytesIO()
    small.save(held, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
