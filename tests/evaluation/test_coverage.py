"""Coverage and risk by counting, and what ties, guessing and perfect sureness give."""

import numpy as np
import pytest

from veridical.evaluation.coverage import aurc, coverage_summary, risk_at, selective_risks
from veridical.evaluation.curves import coverage_risk


def test_risks_are_counted_from_the_surest_picture_down() -> None:
    labels = np.array([1, 0, 0, 1, 0])
    scores = np.array([0.99, 0.9, 0.2, 0.6, 0.45])  # of these the second alone is wrong
    assert selective_risks(labels, scores) == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert aurc(labels, scores) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)
    assert risk_at(labels, scores, coverage=0.4) == 1 / 2
    assert risk_at(labels, scores, coverage=0.41) == 1 / 3
    assert risk_at(labels, scores, coverage=1.0) == 1 / 5


def test_the_order_of_equally_sure_pictures_has_no_part_in_it() -> None:
    labels = np.array([1, 1, 0, 0])
    scores = np.array([0.8, 0.2, 0.2, 0.8])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        assert selective_risks(labels[order], scores[order]) == pytest.approx([0.5] * 4)


def test_it_agrees_with_the_curve_that_is_drawn() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 300), rng.random(300).round(2)
    risks = selective_risks(labels, scores)
    for point in coverage_risk(labels, scores):
        assert risks[round(point.coverage * 300) - 1] == pytest.approx(point.risk.value)


def test_the_best_order_of_errors_gives_the_least_area() -> None:
    labels = np.array([1] * 90 + [0] * 10)
    knows = np.array([0.9] * 90 + [0.6] * 10)  # wrong only where unsure
    boasts = np.array([0.9] * 90 + [1.0] * 10)
    assert aurc(labels, knows) < 0.01 < 0.1 < aurc(labels, boasts)
    assert aurc(labels, np.full(100, 0.7)) == pytest.approx(0.1)


def test_the_summary_has_intervals_around_its_values() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    scores = np.clip(labels * 0.3 + rng.random(300) * 0.7, 0, 1)
    found = coverage_summary(labels, scores, rounds=200)
    assert set(found) == {"aurc", "risk_at_coverage_50", "risk_at_coverage_80", "risk_at_coverage_100"}
    assert found["risk_at_coverage_50"].value < found["risk_at_coverage_100"].value
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n == 300
