from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.evaluation import metrics
from veridical.evaluation.curves import (
    coverage_risk,
    precision_recall,
    reliability,
    roc,
    score_histogram,
)
from veridical.evaluation.intervals import wilson

# Coarse scores, so that ties and both ends of [0, 1] occur.
SETS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def arrays(rows: list[tuple[int, int]]) -> tuple[metrics.Labels, metrics.Scores]:
    return np.array([label for label, _ in rows]), np.array([score / 20 for _, score in rows])


@given(SETS)
def test_the_area_under_the_roc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, int]]) -> None:
    labels, scores = arrays(rows)
    curve = roc(labels, scores)
    fakes, reals = scores[labels == 1][:, None], scores[labels == 0][None, :]
    pairs = (fakes > reals).mean() + (fakes == reals).mean() / 2
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(pairs)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


@given(SETS)
def test_the_steps_under_precision_and_recall_sum_to_ap(rows: list[tuple[int, int]]) -> None:
    labels, scores = arrays(rows)
    curve = precision_recall(labels, scores)
    area = float(np.sum(np.diff(curve.x) * curve.y[1:]))
    assert area == pytest.approx(metrics.average_precision(labels, scores))
    assert curve.y[-1] == pytest.approx(labels.mean())


def test_precision_at_the_highest_score_is_measured_and_not_assumed() -> None:
    curve = precision_recall(np.array([0, 1, 1]), np.array([0.9, 0.5, 0.2]))
    assert curve.y[0] == 0


@given(SETS, st.integers(1, 20))
def test_the_gaps_of_the_reliability_bins_average_to_ece(rows: list[tuple[int, int]], bins: int) -> None:
    labels, scores = arrays(rows)
    found = reliability(labels, scores, bins=bins)
    gaps = sum(b.fakes.n * abs(b.fakes.value - b.mean_score) for b in found)
    assert gaps / len(labels) == pytest.approx(metrics.expected_calibration_error(labels, scores, bins=bins))
    assert sum(b.fakes.n for b in found) == len(labels)
    assert all(b.low <= b.mean_score <= b.high + 1e-12 for b in found)


def test_a_reliability_bin_carries_wilsons_interval() -> None:
    labels, scores = np.array([1, 1, 0, 1, 0]), np.array([0.9, 0.9, 0.9, 1.0, 0.0])
    lowest, highest = reliability(labels, scores, bins=4)
    assert (lowest.low, lowest.high, lowest.fakes) == (0, 0.25, wilson(0, 1))
    assert highest.fakes == wilson(3, 4)
    assert highest.mean_score == pytest.approx(0.925)


@given(SETS)
def test_a_histogram_loses_nobody(rows: list[tuple[int, int]]) -> None:
    labels, scores = arrays(rows)
    held = score_histogram(labels, scores, bins=10)
    assert (held.reals.sum(), held.fakes.sum()) == ((labels == 0).sum(), (labels == 1).sum())
    assert len(held.edges) == len(held.reals) + 1 == 11


def test_coverage_and_risk_of_four_known_samples() -> None:
    # Surest first: 0.95 right, 0.1 wrong, 0.7 wrong, 0.4 right.
    points = coverage_risk(np.array([1, 1, 0, 0]), np.array([0.95, 0.1, 0.7, 0.4]))
    assert [p.coverage for p in points] == [0.25, 0.5, 0.75, 1]
    assert [p.risk.value for p in points] == pytest.approx([0, 1 / 2, 2 / 3, 1 / 2])
    assert points[2].risk == wilson(2, 3)


@given(SETS)
def test_equally_sure_samples_enter_together_whatever_their_order(rows: list[tuple[int, int]]) -> None:
    labels, scores = arrays(rows)
    points = coverage_risk(labels, scores)
    assert points == coverage_risk(labels[::-1], scores[::-1])
    assert points[-1].risk.value == pytest.approx(np.mean((scores >= 0.5) != (labels == 1)))
    assert len(points) == len(np.unique(np.round(np.abs(scores - 0.5), 9)))
