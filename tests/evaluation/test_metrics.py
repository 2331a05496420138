"""Metrics and intervals against reference values and independent computations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.evaluation import metrics
from veridical.evaluation.intervals import bootstrap, group_bootstrap_indices, wilson

LABELS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1])
SCORES = np.array([0.9, 0.2, 0.4, 0.8, 0.6, 0.1, 0.7, 0.3, 0.5, 0.5, 0.51, 0.49])


def test_the_reference_answers_have_the_reference_metrics() -> None:
    assert metrics.auroc(LABELS, SCORES) == pytest.approx(0.8142857, abs=1e-7)
    assert metrics.average_precision(LABELS, SCORES) == pytest.approx(0.8631519, abs=1e-7)
    assert metrics.brier(LABELS, SCORES) == pytest.approx(0.1666833, abs=1e-7)
    assert metrics.expected_calibration_error(LABELS, SCORES, bins=10) == pytest.approx(0.2016667, abs=1e-7)


@given(data=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=40))
@settings(deadline=None)
def test_auroc_is_the_chance_that_a_fake_outranks_a_real(data: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in data])
    scores = np.array([score / 20 for _, score in data])
    pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
    if not pairs:
        assert math.isnan(metrics.auroc(labels, scores))
        return
    wins = sum(1.0 if fake > real else 0.5 if fake == real else 0.0 for fake, real in pairs)
    assert metrics.auroc(labels, scores) == pytest.approx(wins / len(pairs))


def test_eer_of_a_perfect_and_of_a_useless_detector() -> None:
    labels = np.array([0, 0, 1, 1])
    assert metrics.equal_error_rate(labels, np.array([0.1, 0.2, 0.8, 0.9])) == pytest.approx(0)
    assert metrics.equal_error_rate(labels, np.array([0.5, 0.5, 0.5, 0.5])) == pytest.approx(0.5)


def test_tpr_at_fpr_is_zero_when_reals_share_the_top_score() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 1.0, 1.0, 1.0])
    assert metrics.tpr_at_fpr(labels, scores, fpr=0.05) == 0


def test_a_calibrated_detector_has_little_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    labels = (rng.random(20_000) < scores).astype(int)
    assert metrics.expected_calibration_error(labels, scores) < 0.02
    assert metrics.expected_calibration_error(1 - labels, scores) > 0.4


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 300, 0.0, 0.01264), (3, 300, 0.00341, 0.02898), (5, 100, 0.02154, 0.11175)],
)
def test_wilson_reference_intervals(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert estimate.low == pytest.approx(low, abs=1e-5)
    assert estimate.high == pytest.approx(high, abs=1e-5)


def test_a_rate_of_nothing_is_not_a_number() -> None:
    assert math.isnan(wilson(0, 0).value)


def test_the_bootstrap_interval_holds_the_value_and_narrows_with_n() -> None:
    rng = np.random.default_rng(1)

    def width(n: int) -> float:
        labels = np.arange(n) % 2
        estimate = bootstrap(metrics.auroc, labels, labels + rng.normal(0, 1, n), rounds=200)
        assert estimate.low <= estimate.value <= estimate.high
        return estimate.high - estimate.low

    assert width(2000) < width(100)


def test_groups_are_drawn_whole() -> None:
    groups = ["a", "a", "b", "c", "c", "c"]
    for drawn in group_bootstrap_indices(groups, rounds=20):
        counts = np.bincount(drawn, minlength=6)
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]
