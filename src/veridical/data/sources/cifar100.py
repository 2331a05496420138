"""CIFAR-100: 60,000 photographs of 32 x 32 in 100 classes of 20 super-classes, all real.

Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.
https://www.cs.toronto.edu/~kriz/cifar.html

It could not be obtained where this was written, so it was only read in tiny batches of the same form. With
reals alone only the false-positive rate means anything, and that is what it is for: which content is taken for
fake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from veridical.data.samples import Sample
from veridical.data.sources import _cifar
from veridical.data.sources._info import SourceInfo

INFO = SourceInfo(
    title="CIFAR-100",
    about="60,000 real pictures of 32 x 32 in 100 classes of 20 super-classes; train and test.",
    licence=_cifar.LICENCE,
    where=_cifar.WHERE,
    layout="the python version, unpacked: train, test, meta",
    paper="Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.",
)


def read(data: str) -> list[Sample]:
    """Samples in the batches' order; `content` is `SUPERCLASS/CLASS`, such as `flowers/orchid`."""
    return [sample for split in ("train", "test") for sample in _read_split(Path(data), split)]


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from its page (169 MB)."""
    _cifar.download(
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        [f"cifar-100-python/{name}" for name in ("train", "test", "meta")],
        folder,
        most_bytes=most_bytes,
        say=say,
    )


def _read_split(folder: Path, split: str) -> Iterator[Sample]:
    path, meta = folder / split, folder / "meta"
    coarse = _cifar.labels(path, "coarse_labels", _cifar.names(meta, "coarse_label_names"))
    fine = _cifar.labels(path, "fine_labels", _cifar.names(meta, "fine_label_names"))
    contents = [f"{one}/{other}" for one, other in zip(coarse, fine, strict=True)]
    return _cifar.samples(path, "cifar100", split, contents)
