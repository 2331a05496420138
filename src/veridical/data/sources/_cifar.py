"""Common to CIFAR-10 and CIFAR-100: batches of real pictures, and where the archive is."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from veridical.data.cifar import read_batch
from veridical.data.download import copy_at_most, fetch, new_folder
from veridical.data.sample import Sample
from veridical.errors import DataError
from veridical.results import Label

LICENCE = "not stated; cite Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"
WHERE = "https://www.cs.toronto.edu/~kriz/cifar.html"

_ARCHIVES = "https://www.cs.toronto.edu/~kriz"
_MOST_FILE_BYTES = 400_000_000


def names(path: Path) -> list[str]:
    """The class names in a file that has one a line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"There is no list of classes {path}: {error}", code="not_found") from error


def samples(path: Path, source: str, split: str, classes: Sequence[Sequence[str]]) -> Iterator[Sample]:
    """A real sample for each picture of a batch; its hash is that of the 3,072 bytes.

    `classes` are the names for each label of a picture; its `content` joins them by a slash.
    """
    labels, pictures = read_batch(path)
    if labels.shape[1] != len(classes) or (labels >= [len(names) for names in classes]).any():
        known = " and ".join(str(len(names)) for names in classes)
        raise DataError(f"{path} has labels that are not among its {known} classes.", code="bad_batch")
    for place, (picture, numbers) in enumerate(zip(pictures, labels, strict=True)):
        yield Sample(
            path=path,
            label=Label.REAL,
            generator="",
            source=source,
            group=source,
            split=split,
            sha256=hashlib.sha256(picture.tobytes()).hexdigest(),
            member=str(place),
            content="/".join(names[number] for names, number in zip(classes, numbers, strict=True)),
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
