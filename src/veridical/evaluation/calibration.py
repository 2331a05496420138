"""Logits become probabilities: three maps, fitted on data that was not trained on, and compared out of fold.

Both classes weigh equally in every fit and every loss here, so that a probability answers "if real and fake
were equally likely beforehand", whatever their shares in the data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from veridical.errors import DataError
from veridical.evaluation.folds import grouped_folds
from veridical.evaluation.intervals import bootstrap, group_bootstrap_indices
from veridical.evaluation.metrics import Labels, Metric, Scores
from veridical.models.card import Calibration, CalibrationPoint, Estimate

Method = Literal["temperature", "platt", "isotonic"]

# The table of an isotonic calibration has at most so many points: a detector searches it for every picture.
_MOST_POINTS = 200

_BINS = 15

# The logarithm of a probability that was rounded to 0, as in scikit-learn.
_LEAST = float(np.finfo(np.float64).eps)

_SURE: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))


def fit(
    method: Method,
    labels: Labels,
    logits: Scores,
    groups: Sequence[str],
    *,
    fitted_on: str,
    data_sha256: str,
    rounds: int = 500,
) -> Calibration:
    """The calibration by one of `METHODS`, with its uncertainty by bootstrap over `groups`.

    A detector whose logits point the wrong way on the calibration data says 0.5 for everything. Raises
    `DataError` (`one_class`) where too few draws of whole groups hold both classes.
    """
    fits = [
        METHODS[method](labels[drawn], logits[drawn])
        for drawn in group_bootstrap_indices(groups, rounds=rounds)
        if 0 < labels[drawn].sum() < len(drawn)
    ]
    if len(fits) < rounds // 2:
        raise DataError(
            "too few publishers hold both classes to calibrate on.",
            code="one_class",
            hint="Calibrate on at least two groups of reals and two of fakes.",
        )
    found = METHODS[method](labels, logits)
    uncertain = _with_band(found, fits) if found.table else _with_covariance(found, fits)
    return dataclasses.replace(uncertain, fitted_on=fitted_on, data_sha256=data_sha256)


def compare(
    labels: Labels, logits: Scores, groups: Sequence[str], *, rounds: int = 1000
) -> dict[str, dict[str, Estimate]]:
    """`losses` of each of `METHODS` on groups that its fit did not see, and of `none`, the plain sigmoid.

    Folds by group, all held-out probabilities together. Raises `DataError` as `grouped_folds` does.
    """
    held_out = {name: np.empty(len(labels)) for name in METHODS}
    for rest, held in grouped_folds(labels, groups):
        for name, method in METHODS.items():
            held_out[name][held] = probabilities(method(labels[rest], logits[rest]), logits[held])
    every: list[tuple[str, Scores]] = [("none", probabilities(None, logits)), *held_out.items()]
    return {name: losses(labels, scores, rounds=rounds) for name, scores in every}


def choose_method(comparison: dict[str, dict[str, Estimate]]) -> Method:
    """The method with the lowest log-loss out of fold; the simplest among equals."""
    return min(METHODS, key=lambda name: comparison[name]["log_loss"].value)


def losses(labels: Labels, scores: Scores, *, rounds: int = 1000) -> dict[str, Estimate]:
    """`log_loss` (nats), `brier` and `ece` of probabilities, both classes weighted equally."""
    return {name: bootstrap(metric, labels, scores, rounds=rounds) for name, metric in _LOSSES.items()}


def probabilities(calibration: Calibration | None, logits: Scores) -> Scores:
    """The calibrated probability of each logit; without a calibration its sigmoid."""
    known = calibration or _curve("temperature", 1.0, 0.0, np.empty(0, dtype=int))
    return np.array([known.probability(float(logit)) for logit in logits])


def fit_sigmoid(labels: Labels, logits: Scores, *, with_intercept: bool = True) -> Calibration:
    """Platt's map as if it were certain; without an intercept the temperature alone.

    The slope is never negative.
    """
    # Both are plain maximum likelihood; C is large, and only keeps separable draws finite.
    model = LogisticRegression(C=100.0, class_weight="balanced", fit_intercept=with_intercept)
    features: npt.NDArray[np.float64] = logits[:, None]
    model.fit(features, labels)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0]) if with_intercept else 0.0
    method: Method = "platt" if with_intercept else "temperature"
    return _curve(method, *((slope, intercept) if slope > 0 else (0.0, 0.0)), labels)


def _fit_isotonic(labels: Labels, logits: Scores) -> Calibration:
    """The rising steps of least squared error.

    Probabilities stay off 0 and 1 by the rule of succession: that none of n was fake does not say that none
    will be.
    """
    least, most = 1 / ((labels == 0).sum() + 2), 1 - 1 / ((labels == 1).sum() + 2)
    model = IsotonicRegression(y_min=least, y_max=most)
    model.fit(logits, labels, sample_weight=_weights(labels))
    kept = np.unique(np.linspace(0, len(model.X_thresholds_) - 1, _MOST_POINTS).round().astype(int))
    steps = zip(model.X_thresholds_[kept].tolist(), model.y_thresholds_[kept].tolist(), strict=True)
    return dataclasses.replace(
        _curve("platt", 0.0, 0.0, labels),
        method="isotonic",
        table=tuple(CalibrationPoint(logit, value, value, value) for logit, value in steps),
    )


# From the simplest to the one that needs most data.
METHODS: dict[Method, Callable[[Labels, Scores], Calibration]] = {
    "temperature": functools.partial(fit_sigmoid, with_intercept=False),
    "platt": fit_sigmoid,
    "isotonic": _fit_isotonic,
}


def _curve(method: Method, slope: float, intercept: float, labels: Labels) -> Calibration:
    return Calibration(
        slope=slope,
        intercept=intercept,
        covariance=_SURE,
        fitted_on="",
        data_sha256="",
        n_real=int((labels == 0).sum()),
        n_fake=int((labels == 1).sum()),
        method=method,
    )


def _with_covariance(found: Calibration, fits: Sequence[Calibration]) -> Calibration:
    covariance = np.cov(np.array([(one.slope, one.intercept) for one in fits]).T)
    rows = tuple((float(first), float(second)) for first, second in covariance)
    return dataclasses.replace(found, covariance=(rows[0], rows[1]))


def _with_band(found: Calibration, fits: Sequence[Calibration]) -> Calibration:
    logits = np.array([point.logit for point in found.table])
    values = np.array([probabilities(one, logits) for one in fits])
    band = np.quantile(values, [0.025, 0.975], axis=0).T.tolist()
    table = tuple(
        dataclasses.replace(point, low=min(low, point.probability), high=max(high, point.probability))
        for point, (low, high) in zip(found.table, band, strict=True)
    )
    return dataclasses.replace(found, table=table)


def _weights(labels: Labels) -> Scores:
    """Of each sample, so that each class weighs one half."""
    fakes = labels.mean()
    weights: Scores = np.where(labels == 1, 0.5 / fakes, 0.5 / (1 - fakes)) / len(labels)
    return weights


# Not scikit-learn's, whose checks of their input take most of the time of a bootstrap.
def _log_loss(labels: Labels, scores: Scores) -> float:
    right = np.where(labels == 1, scores, 1 - scores)
    return float(-np.average(np.log(np.maximum(right, _LEAST)), weights=_weights(labels)))


def _brier(labels: Labels, scores: Scores) -> float:
    return float(np.average((scores - labels) ** 2, weights=_weights(labels)))


def _ece(labels: Labels, scores: Scores) -> float:
    """`metrics.expected_calibration_error`, whose bins these are too, of a set with as many reals as fakes."""
    places = np.clip(np.ceil(scores * _BINS).astype(int) - 1, 0, _BINS - 1)
    return float(np.abs(np.bincount(places, weights=_weights(labels) * (labels - scores))).sum())


_LOSSES: dict[str, Metric] = {"log_loss": _log_loss, "brier": _brier, "ece": _ece}
