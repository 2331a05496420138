"""Splits of a set that comes without them."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from veridical.data.samples import Sample


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
