"""An aligned copy of a set: both classes in files of one kind, so that no file tells its label from outside.

Every sample becomes a square crop at its own resolution, on an even offset, saved as a JPEG (4:2:0, without
metadata) of a random quality; place and quality come from the same distributions whatever the label. What a
picture shows, and how well it compresses, stay what they were; so do faint traces of an earlier encoding.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from veridical.data.perturbations import aligned_crop
from veridical.data.samples import Sample, load_pixels
from veridical.errors import UsageError

MANIFEST = "images.csv"

# The qualities of `perturbations.reencode`, both included.
QUALITIES = (60, 98)


@dataclass(frozen=True)
class Aligned:
    """The manifest that was written, and the samples that are smaller than the crop and have no copy."""

    manifest: Path
    written: int
    too_small: tuple[Sample, ...]


def align(samples: Sequence[Sample], folder: Path, *, crop: int = 128, seed: int = 0) -> Aligned:
    """Write the aligned copy of a set to a new folder, as pictures and a manifest.

    The copy of a sample depends on `seed` and its place in the set alone. A smaller sample cannot be cropped;
    enlarged or tiled it would be known by that, so it has no copy. Raises `UsageError` if there is something
    at `folder`, `DataError` for a sample that cannot be read.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageError(f"There is already something at {folder}.", hint="Name a new folder.") from error
    rows = []
    too_small = []
    for place, sample in enumerate(samples):
        pixels = load_pixels(sample)
        if min(pixels.shape[:2]) < crop:
            too_small.append(sample)
            continue
        rng = np.random.default_rng([seed, place])
        cut = np.ascontiguousarray(aligned_crop(pixels, crop, rng))
        quality = int(rng.integers(QUALITIES[0], QUALITIES[1] + 1))
        data = simplejpeg.encode_jpeg(cut, quality=quality, colorsubsampling="420", fastdct=False)
        path = Path(sample.split or "all", sample.label.name.lower(), f"{place:06d}.jpg")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        rows.append(_row(sample, path, data, crop, quality))
    _write(folder / MANIFEST, rows)
    return Aligned(folder / MANIFEST, len(rows), tuple(too_small))


def _row(sample: Sample, path: Path, data: bytes, crop: int, quality: int) -> dict[str, str]:
    return {
        "path": path.as_posix(),
        "label": sample.label.name.lower(),
        "generator": sample.generator,
        "source": sample.source,
        "split": sample.split,
        "group": sample.group,
        "width": str(crop),
        "height": str(crop),
        "processing": f"{crop} px crop, JPEG quality {quality}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "content": sample.content,
        "prompt": sample.prompt,
    }


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        # With nothing written there is still a header, so that the manifest can be read.
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
