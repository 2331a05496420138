"""Sets of samples: how they are named, read, counted and hashed, and what pixels their pictures have.

A data set is read by the file in `data/sources/` that knows its shape: a manifest (`images.csv`), a folder
with `real/` and `fake/GENERATOR/`, a pair of list files, or a published set by name (`cifake:PATH`). Several
are joined by `;`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from veridical.data.cifar import read_member
from veridical.data.sample import Sample
from veridical.data.sources import load_source
from veridical.errors import DataError, VeridicalError
from veridical.media import open_media
from veridical.media.image import Pixels
from veridical.results import Label

__all__ = [
    "Sample",
    "counts",
    "data_paths",
    "data_sets",
    "data_sha256",
    "file_sha256",
    "load_frames",
    "load_pixels",
    "read_samples",
]

# One letter is left out: `C:/pictures` is a path.
_NAMED = re.compile(r"(?P<source>[a-z][a-z0-9_]+):(?P<data>.+)", re.DOTALL)


def read_samples(data: str | Path, split: str | None = None) -> list[Sample]:
    """The samples of a data set, in a fixed order; only those of `split` if one is named.

    `data` is a manifest (`.csv`), a folder with `real/` and `fake/`, `REAL.txt,FAKE.txt`, or `NAME:PATH` with
    the name of a file in `data/sources/`; or several of these, joined by `;`, of which some may lack a split.
    Raises `DataError` if one is none of them or is empty, or if nothing is left.
    """
    samples = [sample for part in data_sets(str(data)) for sample in _read_set(part)]
    if split is None:
        return samples
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        known = ", ".join(sorted({sample.split for sample in samples} - {""}))
        raise DataError(
            f"{data} has no sample in split '{split}'; its splits: {known or 'none'}.", code="empty_split"
        )
    return chosen


def data_sets(data: str) -> list[str]:
    """The sets that `A;B;C` joins."""
    # A path that is there is a path, whatever it looks like.
    return [data] if Path(data).exists() else data.split(";")


def data_paths(data: str) -> list[Path]:
    """The files and folders that a set, or several joined by `;`, is read from; some may not exist."""
    return [Path(name) for part in data_sets(data) for name in _named(part)[1].split(",")]


def load_pixels(sample: Sample) -> Pixels:
    """The upright sRGB pixels of a sample, (height, width, 3): of an animation those of its first frame.

    Raises `DataError` (`unreadable_sample`) that names the file: a sample is never skipped or replaced.
    """
    return load_frames(sample)[0]


def load_frames(sample: Sample) -> tuple[Pixels, ...]:
    """The upright sRGB pixels of all frames that `open_media` gives of a sample.

    Raises as `load_pixels` does.
    """
    try:
        if sample.member:
            frames: tuple[Pixels, ...] = (read_member(sample.path, sample.member),)
        else:
            frames = open_media(sample.path).frames
    except (VeridicalError, OSError) as error:
        raise DataError(
            f"{sample.name} cannot be read: {error}",
            code="unreadable_sample",
            hint="Remove it from the data set, or repair it; samples are never skipped silently.",
        ) from error
    if sample.box is None:
        return frames
    box, (height, width) = sample.box, frames[0].shape[:2]
    if box.top + box.height > height or box.left + box.width > width:
        raise DataError(
            f"the box {box} of {sample.name} is outside its {width}x{height} pixels.",
            code="unreadable_sample",
        )
    return tuple(frame[box.top : box.top + box.height, box.left : box.left + box.width] for frame in frames)


def data_sha256(samples: Iterable[Sample]) -> str:
    """One hash of a set: of its samples' file hashes, labels and boxes, whatever their order or folder."""
    rows = sorted(f"{s.sha256 or file_sha256(s.path)} {int(s.label)} {s.box}" for s in samples)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def counts(samples: Sequence[Sample]) -> tuple[int, int]:
    """The numbers of reals and fakes."""
    fakes = sum(s.label is Label.FAKE for s in samples)
    return len(samples) - fakes, fakes


def _read_set(data: str) -> list[Sample]:
    name, place = _named(data)
    samples = load_source(name or _source_name(data)).read(place)
    if not samples:
        raise DataError(f"{data} holds no samples.", code="empty_split")
    return samples


def _named(data: str) -> tuple[str, str]:
    """The source that `NAME:PATH` names, and the path; without a name, nothing and all of it."""
    # Here too a path that is there is a path.
    named = None if Path(data).exists() else _NAMED.fullmatch(data)
    return (named["source"], named["data"]) if named else ("", data)


def _source_name(data: str) -> str:
    if data.endswith(".csv"):
        return "manifest"
    if "," in data:
        return "lists"
    if data and Path(data).is_dir():  # nothing would be the working directory
        return "folder"
    raise DataError(
        f"'{data}' is not a data set.",
        code="not_found",
        hint="Give a manifest (.csv), a folder with real/ and fake/GENERATOR/, REAL.txt,FAKE.txt, or NAME:PATH "
        "with a name of 'veridical data list'; several are joined by ';'.",
    )
