"""Samples become batches: balanced, augmented alike for both classes, and the same for the same seed.

Every random choice is a function of (seed, epoch, place in the epoch), never of what was drawn before, so
that training can resume in the middle of an epoch and threads cannot change the result.
"""

from __future__ import annotations

import collections
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image

from veridical.data import perturbations
from veridical.data.perturbations import Pixels
from veridical.data.samples import Sample, load_pixels
from veridical.errors import DataError, UsageError
from veridical.results import Label

Forge = Callable[[Pixels], Pixels]

_FILTERS = (
    PIL.Image.Resampling.BILINEAR,
    PIL.Image.Resampling.BICUBIC,
    PIL.Image.Resampling.LANCZOS,
)


@dataclass(frozen=True)
class Augmentation:
    """Random changes that both classes go through alike while training.

    In this order: with `resize` the whole picture to that many pixels square, bilinear (published recipes do
    so; it leaks the resampling ratio); with probability `downscale` a resize by a factor drawn from
    [`least_scale`, 1]; a random crop of `crop` pixels that keeps the grid's phase, from a smaller picture after
    it was tiled (without `tile`: enlarged, bicubic, until its short side is `crop`); with probability `blur` a
    Gaussian blur of a sigma drawn from `blur_sigma`; with probability `jpeg` a JPEG of a quality drawn from
    `jpeg_quality`, both ends included; with probability `flip` mirrored; up to `weather` operations that
    pictures meet on their way (`data.perturbations.weather`); if `reencoded`, one random re-encoding of at
    least `least_quality`.

    With probability `rescale` the crop is not of `crop` pixels but of `crop` divided by a factor drawn from
    `rescaled` (as far as the picture is large enough), and it is resized to `crop` by one of three filters:
    as when a whole picture is made smaller before it is shared, but after a reconstruction.

    Blur and JPEG are those of Sheng-Yu Wang et al.: CNN-Generated Images Are Surprisingly Easy to Spot... for
    Now, CVPR 2020, https://arxiv.org/abs/1912.11035 (there 0.1 or 0.5 each, sigma 0 to 3, quality 30 to 100,
    two codecs), but of the crop instead of the whole picture: cheaper, and after a reconstruction (`batches`).
    """

    crop: int
    resize: int = 0
    downscale: float = 0.25
    least_scale: float = 0.5
    reencoded: bool = True
    least_quality: int = 60
    tile: bool = True
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.0, 3.0)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 100)
    flip: float = 0.5
    rescale: float = 0.0
    rescaled: tuple[float, float] = (0.5, 1.0)
    weather: int = 0

    def __post_init__(self) -> None:
        for name in ("downscale", "blur", "jpeg", "flip", "rescale"):
            _require(0 <= getattr(self, name) <= 1, f"augmentation.{name} is a probability, 0 to 1")
        _require(0 <= self.blur_sigma[0] <= self.blur_sigma[1], "augmentation.blur_sigma is LEAST,MOST")
        _require(0 < self.rescaled[0] <= self.rescaled[1], "augmentation.rescaled is LEAST,MOST, above 0")
        _require(self.weather >= 0, "augmentation.weather is a number of operations")
        _require(
            1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100,
            "augmentation.jpeg_quality is LEAST,MOST of 1 to 100",
        )

    def apply(self, pixels: Pixels, rng: np.random.Generator, forge: Forge | None = None) -> Pixels:
        """A `crop` x `crop` picture; `forge` is applied to the crop, before what happens to a file on its way.

        An option that is off draws no random number, so that the draws of the others stay what they were.
        """
        if self.resize:
            pixels = perturbations.resize_to(pixels, self.resize)
        if rng.random() < self.downscale:
            pixels = perturbations.resize(pixels, rng.uniform(self.least_scale, 1.0))
        if not self.tile and min(pixels.shape[:2]) < self.crop:
            pixels = perturbations.resize(pixels, self.crop / min(pixels.shape[:2]))
        pixels = perturbations.aligned_crop(pixels, self._side(pixels, rng), rng)
        if forge is not None:
            pixels = forge(np.ascontiguousarray(pixels))
        if len(pixels) != self.crop:
            filter = _FILTERS[int(rng.integers(len(_FILTERS)))]
            pixels = perturbations.resize_to(np.ascontiguousarray(pixels), self.crop, filter)
        if self.blur and rng.random() < self.blur:
            pixels = perturbations.blur(pixels, rng.uniform(*self.blur_sigma))
        if self.jpeg and rng.random() < self.jpeg:
            pixels = _published_jpeg(pixels, rng, self.jpeg_quality)
        if rng.random() < self.flip:
            pixels = perturbations.flip(pixels)
        if self.weather:
            pixels = perturbations.weather(pixels, self.weather, rng)
        if self.reencoded:
            pixels = perturbations.reencode(pixels, rng, self.least_quality)
        return np.ascontiguousarray(pixels)

    def _side(self, pixels: Pixels, rng: np.random.Generator) -> int:
        """The side of the crop before a resize: even, and within the picture if that is large enough."""
        if not self.rescale or rng.random() >= self.rescale:
            return self.crop
        side = 2 * round(self.crop / rng.uniform(*self.rescaled) / 2)
        return max(self.crop, min(side, *pixels.shape[:2])) if side > self.crop else side


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (batch, crop, crop, 3); `labels` float32 (batch,), 1 for fake.

    `samples` (batch,) are those the pixels came from: of a reconstruction, whose label is 1, a real one.
    """

    pixels: Pixels
    labels: npt.NDArray[np.float32]
    samples: tuple[Sample, ...]


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
    forge: Forge | None = None,
    forged: float = 0.0,
) -> Iterator[Batch]:
    """The batches of one epoch from batch `start` on; an incomplete last batch is left out.

    With probability `forged` the place of a fake is taken by a real crop of the same batch after `forge` (the
    autoencoder of a generator: an aligned fake, see `generation.reconstruct`): the same crop with the same
    random numbers as the real one, so that the two differ by the autoencoder alone. The k-th fake of a batch is
    paired with its k-th real, beginning again where there are fewer reals. Places keep their label, so an epoch
    is as balanced as without; a batch without a real keeps its fakes.

    Pictures are read, and forged, by `workers` threads, two batches ahead. Raises `DataError` with the path of
    a sample that cannot be read.
    """
    assert forge is not None or not forged
    order = epoch_order(samples, seed=seed, epoch=epoch)
    labels = [samples[index].label for index in order]

    def make(place: int, twin: int | None) -> Pixels:
        shown = place if twin is None else twin
        rng = np.random.default_rng([seed, epoch, shown])
        return augmentation.apply(load_pixels(samples[order[shown]]), rng, None if twin is None else forge)

    def collect(places: range, twins: dict[int, int], pictures: list[Future[Pixels]]) -> Batch:
        return Batch(
            pixels=np.stack([picture.result() for picture in pictures]),
            labels=np.array([int(labels[place]) for place in places], dtype=np.float32),
            samples=tuple(samples[order[twins.get(place, place)]] for place in places),
        )

    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: collections.deque[tuple[range, dict[int, int], list[Future[Pixels]]]] = collections.deque()
        for first in range(start * batch_size, len(order) - batch_size + 1, batch_size):
            places = range(first, first + batch_size)
            twins = _twins(places, labels, forged, seed=seed, epoch=epoch) if forge else {}
            waiting.append((places, twins, [pool.submit(make, place, twins.get(place)) for place in places]))
            if len(waiting) > 2:
                yield collect(*waiting.popleft())
        while waiting:
            yield collect(*waiting.popleft())


def batches_per_epoch(samples: Sequence[Sample], batch_size: int) -> int:
    """The number of batches that `batches` gives in one epoch."""
    return (len(samples) // 2 * 2) // batch_size


def _twins(places: range, labels: Sequence[Label], forged: float, *, seed: int, epoch: int) -> dict[int, int]:
    """The places of fakes that are forged, and the real place of each in the same batch."""
    reals = [place for place in places if labels[place] is Label.REAL]
    fakes = [place for place in places if labels[place] is Label.FAKE]
    # The fourth number keeps these draws apart from those of the place's own augmentation.
    return {
        fake: real
        for fake, real in zip(fakes, itertools.cycle(reals), strict=False)
        if np.random.default_rng([seed, epoch, fake, 1]).random() < forged
    }


def _published_jpeg(pixels: Pixels, rng: np.random.Generator, quality: tuple[int, int]) -> Pixels:
    """One of two codecs, as in CNNDetection: OpenCV's there, for which libjpeg-turbo stands here, or Pillow."""
    drawn = int(rng.integers(quality[0], quality[1] + 1))
    if rng.random() < 0.5:
        return perturbations.jpeg(pixels, drawn, "420")
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="JPEG", quality=drawn)
    with PIL.Image.open(buffer, formats=["JPEG"]) as decoded:
        return np.asarray(decoded)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise UsageError(f"{what}.")


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
