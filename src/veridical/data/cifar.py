"""Batches of CIFAR in its binary edition: one or two labels of a byte before each 3,072 bytes of a picture.

The picture is 1,024 bytes of red, then green, then blue. The python edition is not read: it is pickles, and to
unpickle a file is to run it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from veridical.errors import DataError

SIDE = 32

_PIXELS = 3 * SIDE * SIDE
_HINT = "Get the binary edition: 'veridical data info cifar10' says where."


def read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The labels (pictures, 1 or 2) and the pictures (pictures, 3072) of a batch.

    Raises `DataError`: `not_found`, `bad_batch`.
    """
    labels, count = _shape(path)
    records = np.fromfile(path, np.uint8).reshape(count, labels + _PIXELS)
    return records[:, :labels], records[:, labels:]


def read_member(path: Path, member: str) -> npt.NDArray[np.uint8]:
    """The pixels of the picture at place `member` of a batch, (32, 32, 3)."""
    labels, count = _shape(path)
    if not (member.isascii() and member.isdecimal() and int(member) < count):
        raise DataError(f"{path} has {count} pictures, but no number '{member}'.", code="bad_batch")
    start = int(member) * (labels + _PIXELS) + labels
    picture = np.fromfile(path, np.uint8, _PIXELS, offset=start)
    return np.ascontiguousarray(picture.reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def _shape(path: Path) -> tuple[int, int]:
    """The number of labels of a picture, and of pictures: the length of the file says which."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"There is no batch {path}.", code="not_found", hint=_HINT) from error
    for labels in (1, 2):
        if size and size % (labels + _PIXELS) == 0:
            return labels, size // (labels + _PIXELS)
    raise DataError(
        f"{path} is no batch of CIFAR's binary edition, or damaged: {size:,} bytes are no whole pictures.",
        code="bad_batch",
        hint=_HINT,
    )
