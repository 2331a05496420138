"""Metrics of scores against labels; fake (1) is the positive class everywhere.

Each takes `labels` (0 or 1) and `scores` (higher is more fake), both (n,), and gives a float. Ranking metrics
come from scikit-learn and want both classes; `nan` where a metric is not defined.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

Labels = npt.NDArray[np.int_]
Scores = npt.NDArray[np.float64]
Metric = Callable[[Labels, Scores], float]


def auroc(labels: Labels, scores: Scores) -> float:
    """Area under the ROC curve: the chance that a random fake scores above a random real; ties count half."""
    if not _has_both(labels):
        return float("nan")
    false_positive, true_positive, _ = sk.roc_curve(labels, scores)
    return float(sk.auc(false_positive, true_positive))  # roc_auc_score gives the same in three times the time


def average_precision(labels: Labels, scores: Scores) -> float:
    """AP, the step-wise area under precision against recall; depends on the share of fakes."""
    return float(sk.average_precision_score(labels, scores)) if _has_both(labels) else float("nan")


def tpr_at_fpr(labels: Labels, scores: Scores, *, fpr: float) -> float:
    """The largest share of fakes above a threshold that at most `fpr` of the reals reach.

    >>> tpr_at_fpr(np.array([0, 0, 1, 1]), np.array([0.1, 0.8, 0.7, 0.9]), fpr=0.4)
    0.5
    """
    if not _has_both(labels):
        return float("nan")
    false_positive, true_positive, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    return float(true_positive[false_positive <= fpr].max())


def equal_error_rate(labels: Labels, scores: Scores) -> float:
    """EER: where the false-positive and false-negative rates cross, by linear interpolation of the ROC."""
    if not _has_both(labels):
        return float("nan")
    false_positive, true_positive, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    gap = false_positive - (1 - true_positive)
    return float(np.interp(0.0, gap, false_positive))


def balanced_accuracy(labels: Labels, scores: Scores, *, threshold: float = 0.5) -> float:
    """Mean of the accuracies on reals and on fakes; `score >= threshold` says fake."""
    if not _has_both(labels):
        return float("nan")
    return float(sk.balanced_accuracy_score(labels, (scores >= threshold).astype(int)))


def brier(labels: Labels, scores: Scores) -> float:
    """Mean squared difference between probability and label."""
    return float(sk.brier_score_loss(labels, scores))


def expected_calibration_error(labels: Labels, scores: Scores, *, bins: int = 15) -> float:
    """ECE: mean distance between share of fakes and mean probability over `bins` equal-width bins.

    Mahdi Pakdaman Naeini, Gregory Cooper, Milos Hauskrecht: Obtaining well calibrated probabilities using
    Bayesian binning, AAAI 2015. Bins are closed on the right, the first on both sides.
    """
    places = np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)
    total = np.bincount(places, minlength=bins)
    fakes = np.bincount(places, weights=labels, minlength=bins)
    mass = np.bincount(places, weights=scores, minlength=bins)
    return float(np.abs(fakes - mass).sum() / total.sum())


def _has_both(labels: Labels) -> bool:
    return 0 < int(labels.sum()) < len(labels)
