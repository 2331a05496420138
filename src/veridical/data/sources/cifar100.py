"""CIFAR-100: 60,000 photographs of 32 x 32 in 100 classes of 20 super-classes, all real.

Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.
https://www.cs.toronto.edu/~kriz/cifar.html

It could not be obtained where this was written, so it was only read in tiny batches of the same form. With
reals alone only the false-positive rate means anything, and that is what it is for: which content is taken for
fake.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources import _cifar
from veridical.data.sources._info import SourceInfo

_FILES = ("train.bin", "test.bin", "coarse_label_names.txt", "fine_label_names.txt")

INFO = SourceInfo(
    title="CIFAR-100",
    about="60,000 real pictures of 32 x 32 in 100 classes of 20 super-classes; train and test.",
    licence=_cifar.LICENCE,
    where=_cifar.WHERE,
    layout="the binary version, unpacked: train.bin, test.bin, coarse_label_names.txt, fine_label_names.txt",
    paper="Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.",
)


def read(data: str) -> list[Sample]:
    """Samples in the batches' order; `content` is `SUPERCLASS/CLASS`, such as `flowers/orchid`."""
    folder = Path(data)
    classes = [_cifar.names(folder / f"{kind}_label_names.txt") for kind in ("coarse", "fine")]
    return [
        sample
        for split in ("train", "test")
        for sample in _cifar.samples(folder / f"{split}.bin", "cifar100", split, classes)
    ]


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from its page (161 MB)."""
    _cifar.download(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        [f"cifar-100-binary/{name}" for name in _FILES],
        folder,
        most_bytes=most_bytes,
        say=say,
    )
