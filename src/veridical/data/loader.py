"""Samples become batches: balanced, augmented alike for both classes, and the same for the same seed.

Every random choice is a function of (seed, epoch, place in the epoch), never of what was drawn before, so
that training can resume in the middle of an epoch and threads cannot change the result.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.data import perturbations
from veridical.data.samples import Sample, load_pixels
from veridical.errors import DataError
from veridical.results import Label


@dataclass(frozen=True)
class Augmentation:
    """What both classes go through alike while training.

    In this order: with `resize` the whole picture to that many pixels square, bilinear (published recipes do
    so; it leaks the resampling ratio); with probability `downscale` a resize by a factor drawn from
    [`least_scale`, 1]; a random crop of `crop` pixels that keeps the grid's phase, tiled first where the
    picture is smaller; a flip with probability 1/2; if `reencoded`, one random re-encoding of at least
    `least_quality`.
    """

    crop: int
    resize: int = 0
    downscale: float = 0.25
    least_scale: float = 0.5
    reencoded: bool = True
    least_quality: int = 60

    def apply(self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """A `crop` x `crop` picture."""
        if self.resize:
            pixels = perturbations.resize_to(pixels, self.resize)
        if rng.random() < self.downscale:
            pixels = perturbations.resize(pixels, rng.uniform(self.least_scale, 1.0))
        pixels = perturbations.aligned_crop(pixels, self.crop, rng)
        if rng.random() < 0.5:
            pixels = perturbations.flip(pixels)
        if self.reencoded:
            pixels = perturbations.reencode(pixels, rng, self.least_quality)
        return np.ascontiguousarray(pixels)


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (batch, crop, crop, 3); `labels` float32 (batch,), 1 for fake."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]


def epoch_order(samples: Sequence[Sample], *, seed: int, epoch: int) -> list[int]:
    """Indices of one epoch, as many as there are samples: half real, half fake, shuffled.

    Within a class a stratum (generator of fakes, source of reals) of n samples is drawn with weight
    sqrt(n): between "each picture alike", where a few large strata drown the rest, and "each stratum alike",
    where three pictures would be shown hundreds of times. Samples of a stratum come without replacement
    until it is used up.
    """
    rng = np.random.default_rng([seed, epoch])
    per_class = len(samples) // 2
    order = [i for label in Label for i in _draw_class(samples, label, per_class, rng)]
    return [int(i) for i in rng.permutation(order)]


def batches(
    samples: Sequence[Sample],
    *,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = 1,
) -> Iterator[Batch]:
    """The batches of one epoch from batch `start` on; an incomplete last batch is left out.

    Pictures are read by `workers` threads, two batches ahead. Raises `DataError` with the path of a sample
    that cannot be read.
    """
    order = epoch_order(samples, seed=seed, epoch=epoch)

    def make(place: int) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng([seed, epoch, place])
        return augmentation.apply(load_pixels(samples[order[place]]), rng)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: collections.deque[tuple[range, list[Future[npt.NDArray[np.uint8]]]]] = collections.deque()
        for first in range(start * batch_size, len(order) - batch_size + 1, batch_size):
            places = range(first, first + batch_size)
            waiting.append((places, [pool.submit(make, place) for place in places]))
            if len(waiting) > 2:
                yield _collect(*waiting.popleft(), samples=samples, order=order)
        while waiting:
            yield _collect(*waiting.popleft(), samples=samples, order=order)


def batches_per_epoch(samples: Sequence[Sample], batch_size: int) -> int:
    """How many batches `batches` gives in one epoch."""
    return (len(samples) // 2 * 2) // batch_size


def _collect(
    places: range,
    futures: list[Future[npt.NDArray[np.uint8]]],
    *,
    samples: Sequence[Sample],
    order: Sequence[int],
) -> Batch:
    labels = np.array([int(samples[order[place]].label) for place in places], dtype=np.float32)
    return Batch(pixels=np.stack([future.result() for future in futures]), labels=labels)


def _draw_class(samples: Sequence[Sample], label: Label, count: int, rng: np.random.Generator) -> list[int]:
    strata: dict[str, list[int]] = collections.defaultdict(list)
    for index, sample in enumerate(samples):
        if sample.label is label:
            strata[f"{sample.stratum} {sample.group}"].append(index)
    if not strata:
        raise DataError(f"there is no {label.name.lower()} sample to train on.", code="one_class")
    names = sorted(strata)
    weights = np.sqrt([len(strata[name]) for name in names])
    quota = rng.multinomial(count, weights / weights.sum())
    return [i for name, n in zip(names, quota, strict=True) for i in _draw_stratum(strata[name], int(n), rng)]


def _draw_stratum(indices: list[int], count: int, rng: np.random.Generator) -> list[int]:
    rounds = -(-count // len(indices))
    drawn = [indices[i] for _ in range(rounds) for i in rng.permutation(len(indices))]
    return drawn[:count]
