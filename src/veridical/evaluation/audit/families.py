"""Families of features that should say nothing about a label: each alone is put to a classifier.

A family is an array (n, k), a row for each sample; a row of nan is a sample that the family says nothing of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veridical.data.loader import Augmentation
from veridical.evaluation.audit.looks import Look

Features = NDArray[np.float64]

_TABLE = 64
_METADATA = ("c2pa", "comment", "exif", "icc", "iptc", "text", "xmp")

# The commonest names have a column each; all others are one.
_MOST_NAMES = 200


def of_files(looks: Sequence[Look]) -> dict[str, Features]:
    """Of the files as they are.

    `size`: width, height, area. `aspect`: width to height, and long side to short. `format`: of the container.
    `quantisation`: the luminance and chrominance tables of JPEG files, and of those alone, so that it does not
    repeat the format. `bytes` and `bytes_per_pixel`: length of the file, unless the sample is a region of it.
    `metadata`: which kinds there are. `source`: its name. `colour`: how often each of 64 colours occurs.
    """
    return {
        "size": np.array([_size(look.width, look.height) for look in looks]),
        "aspect": np.array([_aspect(look) for look in looks]),
        "format": _one_hot([look.header.format if look.header else "raw" for look in looks]),
        "quantisation": np.array([_quantisation(look) for look in looks]),
        "bytes": np.array([[_bytes(look)] for look in looks]),
        "bytes_per_pixel": np.array([[_bytes(look) / (look.width * look.height)] for look in looks]),
        "metadata": np.array([_metadata(look) for look in looks]),
        "source": _one_hot([look.sample.source for look in looks]),
        "colour": np.array([look.colours for look in looks]),
    }


def of_views(
    looks: Sequence[Look], colours: NDArray[np.float64], augmentation: Augmentation
) -> dict[str, Features]:
    """Of what is left of them after an augmentation that gave views of these `colours`.

    With `resize` a network sees `size` and `aspect` as the ratio of the resampling. Without it a picture is cut
    at its own resolution, and of its size no more can be seen than sides shorter than the crop, which are
    tiled or enlarged. Without `reencoded` the pixels keep the traces of `format` and `quantisation`.
    """
    files = of_files(looks)
    crop = augmentation.crop
    cut = np.array([_size(min(look.width, crop), min(look.height, crop)) for look in looks])
    views = {"size": files["size"] if augmentation.resize else cut}
    if augmentation.resize:
        views["aspect"] = files["aspect"]
    if not augmentation.reencoded:
        views |= {name: files[name] for name in ("format", "quantisation")}
    return views | {"colour": colours}


def _size(width: int, height: int) -> tuple[float, float, float]:
    return width, height, width * height


def _aspect(look: Look) -> tuple[float, float]:
    ratio = look.width / look.height
    return ratio, max(ratio, 1 / ratio)


def _quantisation(look: Look) -> NDArray[np.float64]:
    """Two tables of 64 numbers; zeros for the second of a grey picture, nan for what is no JPEG."""
    if look.header is None or look.header.format != "jpeg":
        return np.full(2 * _TABLE, np.nan)
    numbers = [number for table in look.header.quantisation[:2] for number in table]
    return np.array(numbers + [0] * (2 * _TABLE - len(numbers)), dtype=np.float64)


def _bytes(look: Look) -> float:
    return np.nan if look.header is None or look.sample.box else look.header.byte_count


def _metadata(look: Look) -> list[float]:
    kinds = look.header.metadata if look.header else ()
    return [float(kind in kinds) for kind in _METADATA]


def _one_hot(names: Sequence[str]) -> Features:
    columns = [name for name, _ in Counter(names).most_common(_MOST_NAMES)]
    return np.array([[name == column for column in columns] for name in names], dtype=np.float64)
