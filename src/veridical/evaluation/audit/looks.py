"""The facts an audit reads off a sample: its file from outside, its colours, hashes to find its copies by."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from veridical.data.loader import Augmentation
from veridical.data.samples import Sample, load_pixels
from veridical.data.statistics import Unreadable
from veridical.errors import DataError, VeridicalError
from veridical.media.fingerprint import PDQ, dhash, pdq
from veridical.media.header import Header, read_header
from veridical.media.limits import DEFAULT_LIMITS
from veridical.media.sources import read_file

# Each of red, green and blue in so many steps: coarse, so that what is counted is colour and not the fine
# comb that a codec leaves in a histogram.
COLOUR_STEPS = 4

# Colours are counted at about so many points of a picture.
_POINTS = 65_536


@dataclass(frozen=True, eq=False)
class Look:
    """`width` and `height` of the sample (of a region, its own), in pixels; `colours` the share of pixels in
    each of COLOUR_STEPS ** 3 boxes of the RGB cube, in [0, 1].

    `header` is `None` for a picture without a file of its own;
    `sha256` is that of the file's bytes, made anew, and `pixels_sha256` that of the sample's shape and pixels.
    `is_blank`: all its pixels are the same.
    """

    sample: Sample
    width: int
    height: int
    colours: NDArray[np.float64]
    header: Header | None
    sha256: str
    pixels_sha256: str
    is_blank: bool
    dhash: int
    pdq: PDQ | None


def look_at(
    samples: Sequence[Sample], *, workers: int = 1, with_pdq: bool = True
) -> tuple[list[Look], list[Unreadable]]:
    """Read every sample, by `workers` threads; what cannot be read is named. Both lists keep the order.

    PDQ hashes are made where the library for them is installed.
    """
    hashed = with_pdq and importlib.util.find_spec("pdqhash") is not None

    def attempt(sample: Sample) -> Look | Unreadable:
        try:
            return _look(sample, with_pdq=hashed)
        except DataError as error:
            return _unreadable(sample, error)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        found = list(pool.map(attempt, samples))
    looks = [one for one in found if isinstance(one, Look)]
    return looks, [one for one in found if isinstance(one, Unreadable)]


def view_colours(
    samples: Sequence[Sample], augmentation: Augmentation, *, seed: int = 0, workers: int = 1
) -> NDArray[np.float64]:
    """The colours of one augmented view of each sample, (n, COLOUR_STEPS ** 3); see `Look`."""

    def colours(place: int) -> NDArray[np.float64]:
        rng = np.random.default_rng([seed, place])
        return count_colours(augmentation.apply(load_pixels(samples[place]), rng))

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return np.stack(list(pool.map(colours, range(len(samples)))))


def count_colours(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of pixels in each box of the RGB cube.

    >>> shares = count_colours(np.zeros((8, 8, 3), np.uint8))
    >>> float(shares[0]), shares.shape
    (1.0, (64,))
    """
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _POINTS) ** 0.5))
    red, green, blue = np.moveaxis(pixels[::step, ::step].astype(np.intp) * COLOUR_STEPS // 256, -1, 0)
    boxes = (red * COLOUR_STEPS + green) * COLOUR_STEPS + blue
    shares: NDArray[np.float64] = np.bincount(boxes.ravel(), minlength=COLOUR_STEPS**3) / boxes.size
    return shares


def _look(sample: Sample, *, with_pdq: bool) -> Look:
    pixels = np.ascontiguousarray(load_pixels(sample))
    header, digest = (None, sample.sha256) if sample.member else _read_outside(sample)
    return Look(
        sample=sample,
        width=pixels.shape[1],
        height=pixels.shape[0],
        colours=count_colours(pixels),
        header=header,
        sha256=digest,
        pixels_sha256=sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest(),
        is_blank=bool((pixels == pixels[0, 0]).all()),
        dhash=dhash(pixels),
        pdq=pdq(pixels) if with_pdq else None,
    )


def _read_outside(sample: Sample) -> tuple[Header, str]:
    try:
        data = read_file(sample.path, DEFAULT_LIMITS)
        return read_header(data), sha256(data).hexdigest()
    except VeridicalError as error:
        raise DataError(f"{sample.name} cannot be read: {error}", code="unreadable_sample") from error


def _unreadable(sample: Sample, error: DataError) -> Unreadable:
    # What the decoder said is more use than that the sample is unreadable.
    cause = error.__cause__ if isinstance(error.__cause__, VeridicalError) else error
    return Unreadable(sample.name, sample.split, sample.label.name.lower(), cause.code, cause.message)
