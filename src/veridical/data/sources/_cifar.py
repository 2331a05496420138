"""What CIFAR-10 and CIFAR-100 have in common: batches of real pictures, and where the archive is."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from veridical.data.cifar import read_batch, rows
from veridical.data.download import copy_at_most, fetch, new_folder
from veridical.data.samples import Sample
from veridical.errors import DataError
from veridical.results import Label

LICENCE = "not stated; cite Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"
WHERE = "https://www.cs.toronto.edu/~kriz/cifar.html"

_ARCHIVES = "https://www.cs.toronto.edu/~kriz"
_MOST_FILE_BYTES = 400_000_000


def names(path: Path, field: str) -> list[str]:
    """The list of class names in a `meta` file."""
    found = read_batch(path).get(field)
    if not isinstance(found, list):
        raise DataError(f"{path} has no {field}.", code="bad_batch")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def labels(path: Path, field: str, names: Sequence[str]) -> list[str]:
    """The name of each picture's class, in the batch's order."""
    found = read_batch(path).get(field)
    if not isinstance(found, list) or not all(isinstance(i, int) and 0 <= i < len(names) for i in found):
        raise DataError(f"{path} has no {field} that are among its {len(names)} classes.", code="bad_batch")
    return [names[i] for i in found]


def samples(path: Path, source: str, split: str, contents: Sequence[str]) -> Iterator[Sample]:
    """A real sample for each picture of a batch; its hash is that of the 3,072 bytes."""
    pictures = rows(path)
    if len(contents) != len(pictures):
        raise DataError(f"{path} has {len(pictures)} pictures, and {len(contents)} labels.", code="bad_batch")
    for place, (picture, content) in enumerate(zip(pictures, contents, strict=True)):
        yield Sample(
            path=path,
            label=Label.REAL,
            generator="",
            source=source,
            group=source,
            split=split,
            sha256=hashlib.sha256(picture).hexdigest(),
            member=str(place),
            content=content,
        )


def download(
    archive: str, md5: str, files: Sequence[str], folder: Path, *, most_bytes: int, say: Callable[[str], None]
) -> None:
    """Fetch an archive of the publisher's page and take `files` out of it, nothing else."""
    with new_folder(folder) as scratch:
        path = scratch.with_name(archive)
        fetch(f"{_ARCHIVES}/{archive}", path, most_bytes=most_bytes, say=say, md5=md5)
        with tarfile.open(path, "r:gz") as opened:
            for name in files:
                source = opened.extractfile(name)
                assert source is not None  # the MD5 says that it is the archive that we know
                copy_at_most(source, scratch / Path(name).name, _MOST_FILE_BYTES)
