"""Every metric of a verdict at one threshold after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.evaluation.formulas import matthews_of
from veridical.evaluation.intervals import percentiles, wilson
from veridical.evaluation.metrics import Labels, Scores
from veridical.models.card import Estimate

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Verdicts at a threshold, `score >= threshold` is fake: arrays of equal shape."""

    fakes_found: Values
    fakes_missed: Values
    reals_kept: Values
    reals_accused: Values


@dataclass(frozen=True)
class Sweep:
    """Metrics at each threshold, and for each metric the threshold at which it is best (the lowest of equals).

    The best threshold is chosen on the very samples it is measured on, so it promises too much: choose it on
    one set and measure on another, as `veridical calibrate` does.
    """

    thresholds: tuple[float, ...]
    metrics: dict[str, tuple[Estimate, ...]]
    best: dict[str, float]


def sweep(
    labels: Labels,
    scores: Scores,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    rounds: int = 1000,
    seed: int = 0,
) -> Sweep:
    """Accuracy, precision, recall and F1 of either class, their means and MCC at each of `thresholds`.

    Rates that have a fixed n have Wilson's interval, the others that of the stratified bootstrap. A bootstrap
    of verdicts is a draw of two binomial counts, and is drawn so. What nothing is known of, such as the recall
    of fakes in a set of reals, is `nan`.
    """
    columns: dict[str, list[Estimate]] = {name: [] for name in METRICS}
    for place, threshold in enumerate(thresholds):
        found = _counts(labels, scores >= threshold)
        drawn = _draws(found, rounds=rounds, rng=np.random.default_rng([seed, place]))
        for name, metric in METRICS.items():
            value = float(metric(found))
            columns[name].append(_rate(name, found) or percentiles(value, metric(drawn), n=len(labels)))
    metrics = {name: tuple(cells) for name, cells in columns.items()}
    best = {
        name: thresholds[int(np.nanargmax(values))]
        for name, cells in metrics.items()
        if not np.isnan(values := [cell.value for cell in cells]).all()
    }
    return Sweep(tuple(thresholds), metrics, best)


def _ratio(part: Values, whole: Values) -> Values:
    """`nan` of nothing."""
    share: Values = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return share


def _accuracy(c: Counts) -> Values:
    return _ratio(c.fakes_found + c.reals_kept, c.fakes_found + c.fakes_missed + c.reals_kept + c.reals_accused)


def _recall_fake(c: Counts) -> Values:
    return _ratio(c.fakes_found, c.fakes_found + c.fakes_missed)


def _recall_real(c: Counts) -> Values:
    return _ratio(c.reals_kept, c.reals_kept + c.reals_accused)


def _precision_fake(c: Counts) -> Values:
    return _ratio(c.fakes_found, c.fakes_found + c.reals_accused)


def _precision_real(c: Counts) -> Values:
    return _ratio(c.reals_kept, c.reals_kept + c.fakes_missed)


def _f1_fake(c: Counts) -> Values:
    return _ratio(2 * c.fakes_found, 2 * c.fakes_found + c.fakes_missed + c.reals_accused)


def _f1_real(c: Counts) -> Values:
    return _ratio(2 * c.reals_kept, 2 * c.reals_kept + c.fakes_missed + c.reals_accused)


def _balanced_accuracy(c: Counts) -> Values:
    return (_recall_fake(c) + _recall_real(c)) / 2


def _macro_f1(c: Counts) -> Values:
    return (_f1_fake(c) + _f1_real(c)) / 2


def _mcc(c: Counts) -> Values:
    """Matthews' correlation; 0 where all get the same verdict, `nan` where a class is missing."""
    fakes, reals = c.fakes_found + c.fakes_missed, c.reals_kept + c.reals_accused
    values: Values = matthews_of(c.fakes_found, c.reals_accused, fakes, reals)
    return values


METRICS: dict[str, Callable[[Counts], Values]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
    "macro_f1": _macro_f1,
    "f1_fake": _f1_fake,
    "f1_real": _f1_real,
    "precision_fake": _precision_fake,
    "precision_real": _precision_real,
    "recall_fake": _recall_fake,
    "recall_real": _recall_real,
}


def _counts(labels: Labels, called_fake: npt.NDArray[np.bool_]) -> Counts:
    fake = labels == 1
    cells = ((fake & called_fake), (fake & ~called_fake), (~fake & ~called_fake), (~fake & called_fake))
    return Counts(*(np.array(float(cell.sum())) for cell in cells))


def _draws(found: Counts, *, rounds: int, rng: np.random.Generator) -> Counts:
    fakes, reals = int(found.fakes_found + found.fakes_missed), int(found.reals_kept + found.reals_accused)
    hits = rng.binomial(fakes, found.fakes_found / max(1, fakes), size=rounds).astype(np.float64)
    kept = rng.binomial(reals, found.reals_kept / max(1, reals), size=rounds).astype(np.float64)
    return Counts(hits, fakes - hits, kept, reals - kept)


def _rate(name: str, found: Counts) -> Estimate | None:
    """Wilson's interval of a metric that is a share of a fixed number of samples."""
    right = {
        "accuracy": (found.fakes_found + found.reals_kept, found.fakes_missed + found.reals_accused),
        "recall_fake": (found.fakes_found, found.fakes_missed),
        "recall_real": (found.reals_kept, found.reals_accused),
    }
    if name not in right:
        return None
    hits, misses = right[name]
    return wilson(int(hits), int(hits + misses))
