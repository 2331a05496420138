"""A table from stored predictions: each cell with its 95 % interval and its n."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from veridical.evaluation import metrics
from veridical.evaluation.intervals import bootstrap, wilson
from veridical.evaluation.metrics import Labels, Metric, Scores
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.models.card import Estimate

# Ranking metrics are those of the score; ties and order survive calibration unless its slope is 0.
_BOOTSTRAPPED: dict[str, Metric] = {
    "auroc": metrics.auroc,
    "ap": metrics.average_precision,
    "eer": metrics.equal_error_rate,
    "tpr_at_fpr_1": functools.partial(metrics.tpr_at_fpr, fpr=0.01),
    "tpr_at_fpr_5": functools.partial(metrics.tpr_at_fpr, fpr=0.05),
    "balanced_accuracy": metrics.balanced_accuracy,
    "brier": metrics.brier,
    "ece": metrics.expected_calibration_error,
}


def summarise(predictions: Sequence[Prediction], *, rounds: int = 1000) -> dict[str, Estimate]:
    """Every metric of one detector on one set.

    `fpr` and `reals_called_real` are shares of reals, `tpr` and `fakes_called_real` shares of fakes, at the
    thresholds the predictions carry; `unsure` is the share of all that gets no verdict.
    """
    labels, scores, _ = as_arrays(predictions)
    table = {
        name: bootstrap(metric, labels, scores, rounds=rounds)
        for name, metric in _BOOTSTRAPPED.items()
        if 0 < labels.sum() < len(labels)
    }
    return table | _verdict_rates(predictions, labels, scores)


def per_generator(predictions: Sequence[Prediction], *, rounds: int = 1000) -> dict[str, dict[str, Estimate]]:
    """Each generator's fakes against all the reals of the set; n counts the fakes."""
    reals = [p for p in predictions if p.label == "real"]
    table = {}
    for name in sorted({p.generator for p in predictions if p.label == "fake"}):
        fakes = [p for p in predictions if p.label == "fake" and p.generator == name]
        labels, scores, _ = as_arrays([*reals, *fakes])
        area = bootstrap(metrics.auroc, labels, scores, rounds=rounds) if reals else None
        rates = _verdict_rates(fakes, labels[len(reals) :], scores[len(reals) :])
        ranked = {} if area is None else {"auroc": Estimate(area.value, area.low, area.high, len(fakes))}
        table[name] = ranked | {k: rates[k] for k in ("tpr", "fakes_called_real", "unsure")}
    return table


def per_source(predictions: Sequence[Prediction]) -> dict[str, dict[str, Estimate]]:
    """Each source's reals: how many are called AI, real, or nothing."""
    table = {}
    for name in sorted({p.source for p in predictions if p.label == "real"}):
        reals = [p for p in predictions if p.label == "real" and p.source == name]
        labels, scores, _ = as_arrays(reals)
        rates = _verdict_rates(reals, labels, scores)
        table[name] = {k: rates[k] for k in ("fpr", "reals_called_real", "unsure")}
    return table


def _verdict_rates(predictions: Sequence[Prediction], labels: Labels, scores: Scores) -> dict[str, Estimate]:
    # NaN stands for "no such threshold": no comparison with it holds, so the verdict is never given.
    called_ai = scores >= np.array([p.threshold_ai for p in predictions])
    called_real = ~called_ai & (scores <= np.array([p.threshold_real for p in predictions]))
    real, fake, every = labels == 0, labels == 1, np.ones(len(labels), dtype=bool)
    return {
        "fpr": _rate(called_ai, of=real),
        "reals_called_real": _rate(called_real, of=real),
        "tpr": _rate(called_ai, of=fake),
        "fakes_called_real": _rate(called_real, of=fake),
        "unsure": _rate(~called_ai & ~called_real, of=every),
    }


def _rate(hit: npt.NDArray[np.bool_], *, of: npt.NDArray[np.bool_]) -> Estimate:
    return wilson(int((hit & of).sum()), int(of.sum()))
