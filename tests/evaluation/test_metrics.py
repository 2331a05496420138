"""Metrics and intervals against reference values and independent computations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.evaluation import formulas, metrics
from veridical.evaluation.intervals import bootstrap, group_bootstrap_indices, percentiles, wilson

LABELS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1])
SCORES = np.array([0.9, 0.2, 0.4, 0.8, 0.6, 0.1, 0.7, 0.3, 0.5, 0.5, 0.51, 0.49])


def test_the_reference_answers_have_the_reference_metrics() -> None:
    assert metrics.auroc(LABELS, SCORES) == pytest.approx(0.8142857, abs=1e-7)
    assert metrics.average_precision(LABELS, SCORES) == pytest.approx(0.8631519, abs=1e-7)
    assert metrics.brier(LABELS, SCORES) == pytest.approx(0.1666833, abs=1e-7)
    assert metrics.expected_calibration_error(LABELS, SCORES, bins=10) == pytest.approx(0.2016667, abs=1e-7)


def test_the_reference_answers_have_the_reference_subnet_score() -> None:
    # The source calls exactly one half real, and so its MCC is not that of `mcc`.
    assert metrics.sn34(LABELS, SCORES) == pytest.approx(0.2966188, abs=1e-7)
    assert metrics.mcc(LABELS, SCORES - 1e-9) == pytest.approx(0.371429, abs=1e-6)


@pytest.mark.parametrize(
    ("correlation", "squared", "score"),
    [(0.9, 0.05, 0.7932593), (0.0, 0.25, 1e-6), (0.5, 0.9, 1e-6), (1.0, 0.0, 1.0), (-1.0, 0.0, 1e-6)],
)
def test_reference_subnet_scores(correlation: float, squared: float, score: float) -> None:
    assert formulas.sn34_of(correlation, squared) == pytest.approx(score, abs=1e-7)


def plainly(labels: list[int], scores: list[float]) -> dict[str, float]:
    """Every metric by its definition, one sample after the other."""
    n = len(labels)
    reals = [s for y, s in zip(labels, scores, strict=True) if not y]
    fakes = [s for y, s in zip(labels, scores, strict=True) if y]
    tp, fp = sum(s >= 0.5 for s in fakes), sum(s >= 0.5 for s in reals)
    fn, tn = len(fakes) - tp, len(reals) - fp
    roc = [(0.0, 0.0)]
    precision_recall = []
    for threshold in sorted(set(scores), reverse=True):
        found, alarms = sum(s >= threshold for s in fakes), sum(s >= threshold for s in reals)
        roc.append((alarms / len(reals), found / len(fakes)))
        precision_recall.append((found / (found + alarms), found / len(fakes)))
    recalls = [0.0, *(recall for _, recall in precision_recall)]
    (before, after) = next(pair for pair in itertools.pairwise(roc) if sum(pair[1]) >= 1)
    share = (1 - sum(before)) / (sum(after) - sum(before))
    bins = [[i for i in range(n) if max(0, math.ceil(scores[i] * 15) - 1) == b] for b in range(15)]
    gaps = [abs(sum(labels[i] for i in own) - sum(scores[i] for i in own)) for own in bins]
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "auroc": sum((f > r) + 0.5 * (f == r) for f in fakes for r in reals) / len(fakes) / len(reals),
        "ap": sum(p * (r - previous) for (p, r), previous in zip(precision_recall, recalls, strict=False)),
        "eer": before[0] + share * (after[0] - before[0]),
        "tpr_at_fpr_1": max(tpr for fpr, tpr in roc if fpr <= 0.01),
        "tpr_at_fpr_5": max(tpr for fpr, tpr in roc if fpr <= 0.05),
        "balanced_accuracy": (tp / len(fakes) + tn / len(reals)) / 2,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "mcc": (tp * tn - fp * fn) / spread if spread else 0.0,
        "brier": sum((s - y) ** 2 for y, s in zip(labels, scores, strict=True)) / n,
        "ece": sum(gaps) / n,
    }


# Hundreds of reals, so that a rate of 1 % says something, and few different scores, so that many are tied.
@pytest.mark.parametrize("steps", [5, 20, 1000])
@pytest.mark.parametrize("n", [7, 60, 700])
def test_metrics_are_those_of_their_definitions(n: int, steps: int) -> None:
    rng = np.random.default_rng(n + steps)
    labels = np.r_[0, 1, rng.random(n) < 0.4].astype(int)
    scores = np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.25) * steps) / steps, 0, 1)
    for name, value in plainly(labels.tolist(), scores.tolist()).items():
        assert metrics.METRICS[name](labels, scores) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("label", [0, 1])
def test_without_a_class_only_what_needs_none_is_defined(label: int) -> None:
    labels, scores = np.array([label, label]), np.array([0.25, 0.75])
    defined = {name for name, metric in metrics.METRICS.items() if not math.isnan(metric(labels, scores))}
    assert defined == {"brier", "ece"} | ({"f1"} if label else set())


def test_the_same_verdict_for_everything_is_no_correlation() -> None:
    assert metrics.mcc(np.array([0, 1, 1]), np.array([0.9, 0.8, 0.7])) == 0


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


@pytest.mark.parametrize(("rate", "n"), [(0.03, 300), (0.2, 100), (0.5, 60), (0.9, 200)])
def test_wilson_intervals_hold_the_true_rate_as_often_as_they_say(rate: float, n: int) -> None:
    drawn = np.random.default_rng(3).binomial(n, rate, size=2000)
    held = [estimate.low <= rate <= estimate.high for estimate in (wilson(int(k), n) for k in drawn)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_an_interval_holds_its_value_even_where_drawing_adds_error() -> None:
    estimate = percentiles(0.01, np.array([0.02, 0.03, math.nan]), n=9)
    assert (estimate.low, estimate.value, estimate.n) == (0.01, 0.01, 9)


def test_groups_are_drawn_whole() -> None:
    groups = ["a", "a", "b", "c", "c", "c"]
    for drawn in group_bootstrap_indices(groups, rounds=20):
        counts = np.bincount(drawn, minlength=6)
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]
