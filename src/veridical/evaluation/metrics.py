"""Metrics of scores against labels; fake (1) is the positive class everywhere.

Each takes `labels` (0 or 1) and `scores` (higher is more fake), both (n,), and gives a float. They come from
scikit-learn; `nan` where a metric is not defined, which is wherever a class is missing, but for the Brier
score and the ECE. `score >= threshold` says fake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from veridical.evaluation.formulas import matthews, sn34_of
from veridical.models.metric import METRIC_KINDS

Labels = npt.NDArray[np.int_]
Scores = npt.NDArray[np.float64]
Metric = Callable[[Labels, Scores], float]

ECE_BINS = 15


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
    """Mean of the accuracies on reals and on fakes."""
    if not _has_both(labels):
        return float("nan")
    return float(sk.balanced_accuracy_score(labels, (scores >= threshold).astype(int)))


def f1(labels: Labels, scores: Scores) -> float:
    """F1 of the fakes at 0.5: harmonic mean of precision and recall; `nan` without a fake."""
    return float(sk.f1_score(labels, (scores >= 0.5).astype(int))) if labels.any() else float("nan")


def mcc(labels: Labels, scores: Scores) -> float:
    """MCC, Matthews' correlation of verdicts at 0.5 and labels, in [-1, 1]; 0 if all get the same verdict."""
    return matthews(labels, scores >= 0.5)


def brier(labels: Labels, scores: Scores) -> float:
    """Mean squared difference between probability and label."""
    return float(sk.brier_score_loss(labels, scores, pos_label=1)) if len(labels) else float("nan")


def expected_calibration_error(labels: Labels, scores: Scores, *, bins: int = ECE_BINS) -> float:
    """ECE: mean distance between share of fakes and mean probability over `bins` equal-width bins.

    Mahdi Pakdaman Naeini, Gregory Cooper, Milos Hauskrecht: Obtaining well calibrated probabilities using
    Bayesian binning, AAAI 2015. Bins are closed on the right, the first on both sides.
    """
    if not len(labels):
        return float("nan")
    places = bin_of(scores, bins=bins)
    fakes = np.bincount(places, weights=labels, minlength=bins)
    mass = np.bincount(places, weights=scores, minlength=bins)
    return float(np.abs(fakes - mass).sum() / len(labels))


def bin_of(scores: Scores, *, bins: int = ECE_BINS) -> npt.NDArray[np.int_]:
    """The bin of each score, of `bins` equally wide ones closed on the right, the first on both sides."""
    places: npt.NDArray[np.int_] = np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)
    return places


def sn34(labels: Labels, scores: Scores) -> float:
    """The score of BitMind's subnet 34 (gasbench), in [0, 1]: MCC and Brier score in one number.

    Exactly 0.5 is called real here, as the argmax of the source does; everywhere else it is called fake.
    """
    return float(sn34_of(matthews(labels, scores > 0.5), brier(labels, scores)))


# Those whose interval is bootstrapped, under their names in `models.metric`.
METRICS: Mapping[str, Metric] = {
    "auroc": auroc,
    "ap": average_precision,
    "eer": equal_error_rate,
    "tpr_at_fpr_1": functools.partial(tpr_at_fpr, fpr=0.01),
    "tpr_at_fpr_5": functools.partial(tpr_at_fpr, fpr=0.05),
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "mcc": mcc,
    "brier": brier,
    "ece": expected_calibration_error,
    "sn34": sn34,
}


def measured(name: str, labels: Labels, scores: Scores, logits: Scores) -> float:
    """The metric of that name: of the order of raw logits if it ranks, else of calibrated scores."""
    return METRICS[name](labels, logits if METRIC_KINDS[name].ranks else scores)


def _has_both(labels: Labels) -> bool:
    return 0 < int(labels.sum()) < len(labels)
