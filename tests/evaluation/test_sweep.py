"""A sweep's metrics are scikit-learn's, its intervals those of the stratified bootstrap."""

import numpy as np
import pytest
from sklearn import metrics as sk

from veridical.evaluation.intervals import bootstrap, wilson
from veridical.evaluation.metrics import balanced_accuracy
from veridical.evaluation.sweep import THRESHOLDS, sweep

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 300)
SCORES = np.clip(RNG.normal(0.35 + 0.3 * LABELS, 0.2), 0, 1)


def test_every_metric_is_scikit_learns_at_every_threshold() -> None:
    found = sweep(LABELS, SCORES, rounds=100)
    assert found.thresholds == THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    for place, threshold in enumerate(THRESHOLDS):
        called = (threshold <= SCORES).astype(int)
        precision, recall, f1, _ = sk.precision_recall_fscore_support(LABELS, called)
        expected = {
            "accuracy": sk.accuracy_score(LABELS, called),
            "balanced_accuracy": sk.balanced_accuracy_score(LABELS, called),
            "mcc": sk.matthews_corrcoef(LABELS, called),
            "macro_f1": f1.mean(),
            "f1_real": f1[0],
            "f1_fake": f1[1],
            "precision_real": precision[0],
            "precision_fake": precision[1],
            "recall_real": recall[0],
            "recall_fake": recall[1],
        }
        for name, value in expected.items():
            cell = found.metrics[name][place]
            assert cell.value == pytest.approx(value)
            assert cell.low <= cell.value <= cell.high


def test_intervals_are_wilsons_for_rates_and_else_those_of_the_bootstrap() -> None:
    found = sweep(LABELS, SCORES, rounds=5000)
    right = int(((SCORES >= 0.5) == (LABELS == 1)).sum())
    assert found.metrics["accuracy"][4] == wilson(right, 300)
    expected = bootstrap(balanced_accuracy, LABELS, SCORES, rounds=1000)
    cell = found.metrics["balanced_accuracy"][4]
    assert (cell.low, cell.high) == pytest.approx((expected.low, expected.high), abs=0.008)


def test_the_best_threshold_is_the_lowest_of_equals() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.15, 0.15, 0.75, 0.75])
    found = sweep(labels, scores, rounds=100)
    assert found.best["accuracy"] == 0.2
    assert found.metrics["accuracy"][1].value == 1.0


def test_reals_alone_have_no_recall_of_fakes_and_no_correlation() -> None:
    found = sweep(np.zeros(50, dtype=int), SCORES[:50], rounds=100)
    assert "recall_fake" not in found.best
    assert np.isnan(found.metrics["mcc"][4].value)
    assert found.metrics["recall_real"][4].n == 50
    assert found.metrics["recall_real"][4].value == found.metrics["accuracy"][4].value
