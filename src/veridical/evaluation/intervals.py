"""95 % intervals: Wilson's for rates, the percentiles of a bootstrap for everything else.

A bootstrap of something that never varies, such as the AUROC of perfectly separated classes, has no width. That
of the ECE lies too high where there is little error to find, since drawing adds some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from veridical.models.card import Estimate

if TYPE_CHECKING:
    from veridical.evaluation.metrics import Labels, Metric, Scores

_Z = 1.959963984540054


def wilson(successes: int, n: int) -> Estimate:
    """A rate with Wilson's score interval (Edwin Wilson, JASA 1927); `nan` without samples.

    >>> estimate = wilson(3, 300)
    >>> round(estimate.low, 5), round(estimate.high, 5)
    (0.00341, 0.02898)
    """
    if n == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    rate = successes / n
    centre = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(value=rate, low=low, high=high, n=n)


def bootstrap(metric: Metric, labels: Labels, scores: Scores, *, rounds: int = 1000, seed: int = 0) -> Estimate:
    """A metric with its percentile bootstrap interval, reals and fakes drawn apart.

    Bradley Efron, Robert Tibshirani: An Introduction to the Bootstrap, 1993. Drawing within classes keeps
    their numbers, so that the interval is that of the detector, not of the set's composition.
    """
    import sklearn  # here, because a report of verdicts needs intervals of rates without the extra `bench`

    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == value) for value in (0, 1)]
    values = []
    # scikit-learn's checks of its input take most of its time, and the input is the same each round.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(rounds):
            drawn = np.concatenate([rng.choice(c, size=len(c)) for c in classes if len(c)])
            values.append(metric(labels[drawn], scores[drawn]))
    return percentiles(metric(labels, scores), np.array(values), n=len(labels))


def percentiles(value: float, drawn: Scores, *, n: int) -> Estimate:
    """`value` with the middle 95 % of its bootstrap values `drawn` (rounds,), of those that are not `nan`.

    The interval always holds the value.
    """
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return Estimate(value=value, low=math.nan, high=math.nan, n=n)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), n=n)


def group_bootstrap_indices(groups: Sequence[str], *, rounds: int, seed: int = 0) -> list[np.ndarray]:
    """`rounds` resamples of whole groups with replacement, as arrays of sample indices.

    Pictures of one publisher resemble one another, so the publisher is the unit that is drawn.
    """
    rng = np.random.default_rng(seed)
    _, codes, sizes = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    return [
        np.concatenate([members[i] for i in rng.integers(0, len(members), size=len(members))])
        for _ in range(rounds)
    ]
