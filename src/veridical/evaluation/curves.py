"""Curves of scores against labels, as numbers: ROC, PR, reliability, histogram, coverage-risk.

Labels are 0 (real) and 1 (fake), scores
probabilities of fake in [0, 1], both (n,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from veridical.evaluation.intervals import wilson
from veridical.evaluation.metrics import ECE_BINS, Labels, Scores, bin_of
from veridical.models.card import Estimate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a line, `x` and `y` both (m,) and in [0, 1]."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class ReliabilityBin:
    """The samples whose score is in (`low`, `high`]; the first bin holds a score of 0 too.

    `mean_score` is what the detector said of them, `fakes` the share that is fake, with its n.
    """

    low: float
    high: float
    mean_score: float
    fakes: Estimate


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of reals and of fakes between `edges`, (bins + 1,); a bin holds its lower edge."""

    edges: Floats
    reals: npt.NDArray[np.int_]
    fakes: npt.NDArray[np.int_]


@dataclass(frozen=True)
class SelectiveError:
    """The errors at 0.5 among the `coverage` (0 to 1) of the samples that the detector is surest of."""

    coverage: float
    risk: Estimate


def roc(labels: Labels, scores: Scores) -> Curve:
    """Share of reals (x) and of fakes (y) that reach each threshold, from (0, 0) to (1, 1).

    Both classes are needed.
    """
    false_positive, true_positive, _ = sk.roc_curve(labels, scores)
    return Curve(false_positive, true_positive)


def precision_recall(labels: Labels, scores: Scores) -> Curve:
    """Recall (x) and precision (y) from the highest threshold to the lowest: a step function.

    It starts at recall 0 with the precision of the highest score, where scikit-learn puts a 1 that no sample
    stands for. Both classes are needed.
    """
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    precision[-1] = precision[-2]
    return Curve(recall[::-1], precision[::-1])


def reliability(labels: Labels, scores: Scores, *, bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """Bins that hold a sample, from the lowest score up; the same bins as `expected_calibration_error`."""
    places = bin_of(scores, bins=bins)
    return [
        ReliabilityBin(
            low=place / bins,
            high=(place + 1) / bins,
            mean_score=float(scores[places == place].mean()),
            fakes=wilson(int(labels[places == place].sum()), int((places == place).sum())),
        )
        for place in np.unique(places).tolist()
    ]


def score_histogram(labels: Labels, scores: Scores, *, bins: int = 20) -> Histogram:
    """Reals and fakes in `bins` bins of equal width over [0, 1]."""
    reals, edges = np.histogram(scores[labels == 0], bins=bins, range=(0.0, 1.0))
    fakes, _ = np.histogram(scores[labels == 1], bins=bins, range=(0.0, 1.0))
    return Histogram(edges, reals, fakes)


def coverage_risk(labels: Labels, scores: Scores) -> list[SelectiveError]:
    """From the surest samples to all of them: what share of the answers at 0.5 is wrong.

    Ran El-Yaniv, Yair Wiener: On the foundations of noise-free selective classification, JMLR 11, 2010,
    https://jmlr.org/papers/v11/el-yaniv10a.html. A sample's sureness is the distance of its score from 0.5;
    samples that are equally sure enter together, so that the order of the file has no part in it.
    """
    wrong, answered = np.cumsum(errors_by_sureness(labels, scores), axis=1).tolist()
    return [
        SelectiveError(coverage=n / len(scores), risk=wilson(errors, n))
        for errors, n in zip(wrong, answered, strict=True)
    ]


def errors_by_sureness(labels: Labels, scores: Scores) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """The errors at 0.5 among equally sure samples, and how many those are, from the surest on.

    A sample's sureness is the distance of its score from 0.5.
    """
    # Rounded, because 0.5 - 0.2 and 0.7 - 0.5 differ in the last bit.
    sureness = np.round(np.abs(scores - 0.5), 12)
    _, kinds, sizes = np.unique(-sureness, return_inverse=True, return_counts=True)
    wrong = kinds[(scores >= 0.5) != (labels == 1)]
    return np.bincount(wrong, minlength=len(sizes)), sizes
