"""Coverage and risk: how often the detector errs when it answers only the pictures of which it is surest."""

from __future__ import annotations

import functools
import math

import numpy as np

from veridical.evaluation.curves import errors_by_sureness
from veridical.evaluation.intervals import bootstrap
from veridical.evaluation.metrics import Labels, Metric, Scores
from veridical.models.card import Estimate

COVERAGES = (0.5, 0.8, 1.0)


def selective_risks(labels: Labels, scores: Scores) -> Scores:
    """The share of errors among the k surest pictures, for k = 1 to n.

    The answer is fake from a score of 0.5 on, its sureness the distance from there. Among equally sure
    pictures the order is left open: each counts as the mean of them. `curves.coverage_risk` is the same where
    no such choice is needed.

    >>> selective_risks(np.array([1, 0, 0]), np.array([0.9, 0.8, 0.3])).round(2).tolist()
    [0.0, 0.5, 0.33]
    """
    errors, sizes = errors_by_sureness(labels, scores)
    risks: Scores = np.cumsum(np.repeat(errors / sizes, sizes)) / np.arange(1, len(labels) + 1)
    return risks


def aurc(labels: Labels, scores: Scores) -> float:
    """AURC, the mean risk over all coverages: 0 is best.

    Yonatan Geifman, Guy Uziel, Ran El-Yaniv: Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
    ICLR 2019.
    """
    return float(selective_risks(labels, scores).mean())


def risk_at(labels: Labels, scores: Scores, *, coverage: float) -> float:
    """The risk of the surest `coverage` of the pictures, rounded up to whole ones."""
    risks = selective_risks(labels, scores)
    # Less a little: 0.8 * 10 may come out just above 8.
    return float(risks[math.ceil(coverage * len(labels) - 1e-9) - 1])


def coverage_summary(labels: Labels, scores: Scores, *, rounds: int = 1000) -> dict[str, Estimate]:
    """`aurc`, `risk_at_coverage_50`, `_80` and `_100`."""
    named: dict[str, Metric] = {"aurc": aurc}
    for share in COVERAGES:
        named[f"risk_at_coverage_{round(100 * share)}"] = functools.partial(risk_at, coverage=share)
    return {name: bootstrap(metric, labels, scores, rounds=rounds) for name, metric in named.items()}
