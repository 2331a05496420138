"""Logits become probabilities, and probabilities get thresholds, on data that was not trained on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from veridical.errors import DataError
from veridical.evaluation.intervals import group_bootstrap_indices, wilson
from veridical.evaluation.metrics import Labels, Scores
from veridical.models.card import Calibration
from veridical.results import Thresholds

# A verdict is given only where the upper end of the 95 % interval of its error rate is below these.
MOST_REALS_CALLED_AI = 0.05
MOST_FAKES_CALLED_REAL = 0.10


def fit_platt(
    labels: Labels,
    logits: Scores,
    groups: list[str],
    *,
    fitted_on: str,
    data_sha256: str,
    rounds: int = 500,
) -> Calibration:
    """Platt's sigmoid with both classes weighted equally; its covariance by bootstrap over `groups`.

    The slope is never negative: a detector whose logits point the wrong way on the calibration data gets
    slope 0 and so says 0.5 for everything.
    """
    fits = [
        _fit(labels[drawn], logits[drawn])
        for drawn in group_bootstrap_indices(groups, rounds=rounds)
        if 0 < labels[drawn].sum() < len(drawn)
    ]
    if len(fits) < rounds // 2:
        raise DataError(
            "too few publishers hold both classes to calibrate on.",
            code="one_class",
            hint="Calibrate on at least two groups of reals and two of fakes.",
        )
    slope, intercept = _fit(labels, logits)
    covariance = np.cov(np.array(fits).T)
    return Calibration(
        slope=slope,
        intercept=intercept,
        covariance=(
            (float(covariance[0, 0]), float(covariance[0, 1])),
            (float(covariance[1, 0]), float(covariance[1, 1])),
        ),
        fitted_on=fitted_on,
        data_sha256=data_sha256,
        n_real=int((labels == 0).sum()),
        n_fake=int((labels == 1).sum()),
    )


def choose_thresholds(
    labels: Labels,
    logits: Scores,
    calibration: Calibration,
    *,
    reals_called_ai: float = MOST_REALS_CALLED_AI,
    fakes_called_real: float = MOST_FAKES_CALLED_REAL,
) -> Thresholds:
    """The widest verdicts that keep two promises on the calibration data.

    The error rate: `ai` is the lowest probability at which the Wilson upper bound of the share of reals at or
    above it is at most `reals_called_ai`; `real` the highest at which that of the fakes at or below it is at
    most `fakes_called_real`. And the publishers must agree: at a threshold, the calibration's own interval
    lies on the verdict's side of one half.

    Either is `None` if no probability qualifies, or if nothing of its own class would get the verdict. Where
    both leave room for one another, the two meet at the point of that room nearest 0.5.
    """
    scores = np.array([calibration.probability(logit) for logit in logits])
    low, high = np.array([calibration.interval(logit) for logit in logits]).T
    real_set, fake_set = labels == 0, labels == 1
    ai = _lowest_accepted(scores[real_set], scores[fake_set], reals_called_ai, scores[low > 0.5])
    mirrored = _lowest_accepted(-scores[fake_set], -scores[real_set], fakes_called_real, -scores[high < 0.5])
    real = None if mirrored is None else -mirrored
    if ai is not None and real is not None and real >= ai:
        meeting = min(max(0.5, ai), real)
        return Thresholds(ai=meeting, real=math.nextafter(meeting, 0.0))
    return Thresholds(ai=ai, real=real)


def _lowest_accepted(wrong: Scores, right: Scores, limit: float, candidates: Scores) -> float | None:
    for candidate in np.unique(candidates):
        if wilson(int((wrong >= candidate).sum()), len(wrong)).high <= limit:
            return float(candidate) if (right >= candidate).any() else None
    return None


def _fit(labels: Labels, logits: Scores) -> tuple[float, float]:
    # Platt's method is plain maximum likelihood; C is large, and only keeps separable draws finite.
    model = LogisticRegression(C=100.0, class_weight="balanced")
    features: npt.NDArray[np.float64] = logits[:, None]
    model.fit(features, labels)
    slope = float(model.coef_[0, 0])
    return (slope, float(model.intercept_[0])) if slope > 0 else (0.0, 0.0)
