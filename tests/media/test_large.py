"""Photographs of 50 to 200 megapixels are judged, in memory that their size bounds."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from veridical.media import DEFAULT_LIMITS
from veridical.media.formats._pixels import check_size

PEAK = """
import resource, sys
from pathlib import Path
from veridical.media import open_media
image = open_media(sys.argv[1])
lines = Path("/proc/self/status").read_text().splitlines()
peak = 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
child = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(image.width, image.height, len(image.warnings), peak, child)
"""


@pytest.mark.parametrize("size", [(8160, 6144), (8192, 6144), (12000, 9000), (16320, 12240), (16384, 12288)])
def test_what_phones_take_is_within_the_limits(size: tuple[int, int]) -> None:
    check_size(*size, DEFAULT_LIMITS)
    assert 3 * size[0] * size[1] < DEFAULT_LIMITS.max_file_bytes


@pytest.mark.parametrize(
    ("format", "options", "size"),
    [
        ("JPEG", {}, (12000, 9000)),
        ("TIFF", {"compression": "tiff_lzw"}, (8192, 6144)),
        ("PNG", {}, (8160, 6144)),
    ],
)
def test_a_large_photograph_takes_little_more_memory_than_its_pixels(
    tmp_path: Path, format: str, options: dict[str, str], size: tuple[int, int]
) -> None:
    path = tmp_path / "large"
    exif = Pil.Exif()
    exif[0x0112] = 6 if format == "JPEG" else 1
    Pil.new("RGB", size, (200, 120, 40)).save(path, format, exif=exif, **options)
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    width, height, warnings, own, child = map(int, done.stdout.split())
    assert {width, height} == set(size)
    assert warnings == 0
    pixels, rest = 3 * width * height, 160 * 2**20
    assert own < 2 * pixels + rest
    assert child < 3 * pixels + rest


def test_the_limit_of_another_program_on_pillow_stays_as_it_was() -> None:
    from veridical.media import open_media

    before = Pil.MAX_IMAGE_PIXELS
    stream = io.BytesIO()
    Pil.fromarray(np.zeros((40, 40, 3), np.uint8)).convert("P").save(stream, "PNG")
    open_media(stream.getvalue())
    assert Pil.MAX_IMAGE_PIXELS == before
