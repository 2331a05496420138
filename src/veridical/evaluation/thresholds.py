"""Probabilities get thresholds that keep a promise, and the promise is checked for each source of reals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.evaluation.calibration import probabilities
from veridical.evaluation.intervals import wilson
from veridical.evaluation.metrics import Labels, Scores
from veridical.models.card import Calibration, Estimate
from veridical.results import Thresholds

# A verdict is given only where the upper end of the 95 % interval of its error rate is below these.
MOST_REALS_CALLED_AI = 0.05
MOST_FAKES_CALLED_REAL = 0.10

# Of a source with fewer reals nothing is promised, however high the rate that is allowed.
LEAST_IN_STRATUM = 100

# The worst publisher decides, if it has so many pictures: of fewer, two wrong verdicts would be too many.
LEAST_OF_PUBLISHER = 30
MOST_OF_PUBLISHER = 0.10


@dataclass(frozen=True)
class Promise:
    """How many reals of a source are called AI, and whether the upper end of that is at most what was wanted.

    `kept` is `None` for a source with too few reals to tell: not measured.
    """

    fpr: Estimate
    kept: bool | None


def choose_thresholds(
    labels: Labels,
    logits: Scores,
    calibration: Calibration,
    *,
    reals_called_ai: float = MOST_REALS_CALLED_AI,
    fakes_called_real: float = MOST_FAKES_CALLED_REAL,
    publishers: Sequence[str] = (),
) -> Thresholds:
    """The widest verdicts that keep two promises on the calibration data.

    The error rate: `ai` is the lowest probability at which the Wilson upper bound of the share of reals at or
    above it is at most `reals_called_ai`; `real` the highest at which that of the fakes at or below it is at
    most `fakes_called_real`. With `publishers`, one for each sample, no publisher of enough pictures may show
    more than `MOST_OF_PUBLISHER` (or than the limit, if that is higher): fakes made to be taken for photographs
    are few, and drown among art, as close-up faces do among the reals. And the publishers must agree: at a
    threshold, the calibration's own interval lies on the verdict's side of one half.

    Either is `None` if no probability qualifies, or if nothing of its own class would get the verdict. Where
    both leave room for one another, the two meet at the point of that room nearest 0.5.
    """
    scores = probabilities(calibration, logits)
    low, high = np.array([calibration.interval(float(logit)) for logit in logits]).T
    reals, fakes = labels == 0, labels == 1
    ai = _lowest_accepted(
        scores[reals],
        _large_groups(scores, reals, publishers),
        scores[fakes],
        reals_called_ai,
        scores[low > 0.5],
    )
    mirrored = _lowest_accepted(
        -scores[fakes],
        _large_groups(-scores, fakes, publishers),
        -scores[reals],
        fakes_called_real,
        -scores[high < 0.5],
    )
    real = None if mirrored is None else -mirrored
    if ai is not None and real is not None and real >= ai:
        meeting = min(max(0.5, ai), real)
        return Thresholds(ai=meeting, real=math.nextafter(meeting, 0.0))
    return Thresholds(ai=ai, real=real)


def promises(
    labels: Labels, scores: Scores, sources: Sequence[str], thresholds: Thresholds, *, fpr: float
) -> dict[str, Promise]:
    """For each source of reals whether its FPR at `thresholds.ai` stays below `fpr`, by its upper bound."""
    table = {}
    for name, reals in _by_stratum(scores, labels == 0, sources).items():
        called = 0 if thresholds.ai is None else int((reals >= thresholds.ai).sum())
        rate = wilson(called, len(reals))
        table[name] = Promise(rate, rate.high <= fpr if is_measurable(len(reals), fpr) else None)
    return table


def is_measurable(n: int, rate: float) -> bool:
    """Whether `n` samples without an error would show that errors are rarer than `rate`.

    >>> [is_measurable(n, 0.03) for n in (99, 124, 125)]
    [False, False, True]
    """
    return n >= LEAST_IN_STRATUM and wilson(0, n).high <= rate


def _large_groups(scores: Scores, chosen: npt.NDArray[np.bool_], publishers: Sequence[str]) -> list[Scores]:
    groups = _by_stratum(scores, chosen, publishers).values()
    return [own for own in groups if len(own) >= LEAST_OF_PUBLISHER]


def _by_stratum(scores: Scores, chosen: npt.NDArray[np.bool_], strata: Sequence[str]) -> dict[str, Scores]:
    """The chosen scores of each stratum; nothing where no strata are named."""
    named = np.asarray(strata, dtype=np.str_)
    found = sorted(set(named[chosen].tolist())) if len(named) else []
    return {name: scores[chosen & (named == name)] for name in found}


def _lowest_accepted(
    wrong: Scores, groups: Sequence[Scores], right: Scores, limit: float, candidates: Scores
) -> float | None:
    """The lowest candidate that few enough of all `wrong` and of each group reach, and some of `right`."""
    for candidate in np.unique(candidates):
        if wilson(int((wrong >= candidate).sum()), len(wrong)).high <= limit and all(
            (own >= candidate).mean() <= max(limit, MOST_OF_PUBLISHER) for own in groups
        ):
            return float(candidate) if (right >= candidate).any() else None
    return None
