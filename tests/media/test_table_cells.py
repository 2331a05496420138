"""What the table of docs/decoder.md says and no other test shows."""

from __future__ import annotations

import io

from PIL import Image as Pil

from veridical.media import open_media


def test_a_transparent_colour_of_a_gif() -> None:
    image = Pil.new("P", (40, 40), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (20, 0, 40, 40))
    stream = io.BytesIO()
    image.save(stream, "GIF", transparency=1)
    pixels = open_media(stream.getvalue()).pixels
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[0, 39].tolist() == [128, 128, 128]
