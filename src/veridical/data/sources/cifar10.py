"""CIFAR-10: 60,000 photographs of 32 x 32 in ten classes, all real.

Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.
https://www.cs.toronto.edu/~kriz/cifar.html

It could not be obtained where this was written, so it was only read in tiny batches of the same form. With
reals alone only the false-positive rate means anything. CIFAKE's reals are these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources import _cifar
from veridical.data.sources._info import SourceInfo

_BATCHES = {f"data_batch_{number}.bin": "train" for number in range(1, 6)} | {"test_batch.bin": "test"}

INFO = SourceInfo(
    title="CIFAR-10",
    about="60,000 real pictures of 32 x 32 in 10 classes; train and test.",
    licence=_cifar.LICENCE,
    where=_cifar.WHERE,
    layout="the binary version, unpacked: data_batch_N.bin (1 to 5), test_batch.bin, batches.meta.txt",
    paper="Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009.",
)


def read(data: str) -> list[Sample]:
    """Samples in the batches' order; `content` is the class."""
    folder = Path(data)
    classes = [_cifar.names(folder / "batches.meta.txt")]
    return [
        sample
        for name, split in _BATCHES.items()
        for sample in _cifar.samples(folder / name, "cifar10", split, classes)
    ]


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from its page (162 MB)."""
    _cifar.download(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        [f"cifar-10-batches-bin/{name}" for name in [*_BATCHES, "batches.meta.txt"]],
        folder,
        most_bytes=most_bytes,
        say=say,
    )
