"""Splits of a set that comes without them, and seeded draws from one that is too large or lopsided."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from veridical.data.samples import Sample, counts
from veridical.errors import DataError
from veridical.results import Label


def hold_out(samples: Sequence[Sample], *, share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """The set without a seeded `share` of each stratum (generator or source), and that share.

    Regions of one file stay together. This is a split within publishers: it tells when to stop training, and
    nothing about pictures from elsewhere.
    """
    files: dict[tuple[int, str], list[str]] = collections.defaultdict(list)
    for sample in samples:
        names = files[int(sample.label), sample.stratum]
        if sample.name not in names[-1:]:
            names.append(sample.name)
    rng = np.random.default_rng(seed)
    held = {
        str(name)
        for stratum in sorted(files)
        for name in rng.permutation(sorted(set(files[stratum])))[: max(1, round(share * len(files[stratum])))]
    }
    kept = [sample for sample in samples if sample.name not in held]
    return kept, [sample for sample in samples if sample.name in held]


def draw(samples: Sequence[Sample], *, reals: int = 0, fakes: int = 0, seed: int) -> list[Sample]:
    """Samples with so many reals and fakes (0: all), in their order; strata keep their share of the class.

    Raises `DataError` (`too_few_samples`) if there are fewer.
    """
    drawn = [
        index
        for label, count in ((Label.REAL, reals), (Label.FAKE, fakes))
        for index in _draw_class(samples, label, count, seed)
    ]
    return [samples[index] for index in sorted(drawn)]


def truncate(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """The smaller class, and as many of the larger one, drawn as by `draw`."""
    fewest = min(counts(samples))
    return draw(samples, reals=fewest, fakes=fewest, seed=seed)


def _draw_class(samples: Sequence[Sample], label: Label, count: int, seed: int) -> list[int]:
    indices = [index for index, sample in enumerate(samples) if sample.label is label]
    if not count:
        return indices
    if count > len(indices):
        raise DataError(
            f"{count} {label.name.lower()} samples are wanted, and there are {len(indices)}.",
            code="too_few_samples",
        )
    strata: dict[str, list[int]] = collections.defaultdict(list)
    for index in indices:
        strata[samples[index].stratum].append(index)
    names = sorted(strata)
    quotas = _shares([len(strata[name]) for name in names], count)
    rng = np.random.default_rng([seed, int(label)])
    return [
        int(index)
        for name, quota in zip(names, quotas, strict=True)
        for index in rng.permutation(strata[name])[:quota]
    ]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """`count` divided in proportion to `sizes`: rounded down, then one more by the largest remainders."""
    whole = sum(sizes)
    shares = [size * count // whole for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda place: -(sizes[place] * count % whole))
    for place in by_remainder[: count - sum(shares)]:
        shares[place] += 1
    return shares
