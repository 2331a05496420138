"""Calibration gives probabilities, thresholds keep their promise, and ignorance becomes `unsure`."""

import numpy as np
import pytest

from veridical.evaluation.calibration import choose_thresholds, fit_platt
from veridical.evaluation.intervals import wilson
from veridical.evaluation.metrics import expected_calibration_error
from veridical.models.card import Calibration


def draw(n: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, logits whose classes lie `distance` apart, and eight publishers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, rng.normal(labels * distance, 1.0), [f"publisher {i % 8}" for i in range(n)]


def fit(labels: np.ndarray, logits: np.ndarray, groups: list[str]) -> Calibration:
    return fit_platt(labels, logits, groups, fitted_on="draw", data_sha256="0" * 64, rounds=100)


def test_probabilities_are_calibrated_on_data_not_fitted_on() -> None:
    calibration = fit(*draw(2000, 1.5, seed=0))
    labels, logits, _ = draw(5000, 1.5, seed=1)
    scores = np.array([calibration.probability(x) for x in logits])
    assert expected_calibration_error(labels, scores) < 0.04


def test_the_interval_holds_the_probability_and_is_wider_with_less_data() -> None:
    much, little = fit(*draw(4000, 1.5, seed=0)), fit(*draw(80, 1.5, seed=0))
    for calibration in (much, little):
        low, high = calibration.interval(2.0)
        assert 0 <= low < calibration.probability(2.0) < high <= 1
    assert much.interval(2.0)[1] - much.interval(2.0)[0] < little.interval(2.0)[1] - little.interval(2.0)[0]


def test_logits_that_point_the_wrong_way_say_nothing() -> None:
    labels, logits, groups = draw(500, -1.5, seed=0)
    calibration = fit(labels, logits, groups)
    assert calibration.probability(-5) == calibration.probability(5) == 0.5


def test_thresholds_keep_the_upper_bounds_of_their_errors() -> None:
    labels, logits, groups = draw(2000, 2.0, seed=0)
    calibration = fit(labels, logits, groups)
    thresholds = choose_thresholds(labels, logits, calibration, reals_called_ai=0.05, fakes_called_real=0.1)
    assert thresholds.ai is not None
    assert thresholds.real is not None
    scores = np.array([calibration.probability(x) for x in logits])
    reals, fakes = scores[labels == 0], scores[labels == 1]
    assert wilson(int((reals >= thresholds.ai).sum()), len(reals)).high <= 0.05
    assert wilson(int((fakes <= thresholds.real).sum()), len(fakes)).high <= 0.1
    assert (fakes >= thresholds.ai).mean() > 0.3


@pytest.mark.parametrize("n", [20, 60])
def test_few_samples_support_no_verdict_however_well_they_separate(n: int) -> None:
    labels = np.arange(n) % 2
    logits = np.where(labels == 1, 4.0, -4.0)
    calibration = Calibration(1.0, 0.0, ((0.0, 0.0), (0.0, 0.0)), "x", "0" * 64, n // 2, n // 2)
    thresholds = choose_thresholds(labels, logits, calibration, fakes_called_real=0.05)
    assert thresholds.ai is None
    assert thresholds.real is None


def test_publishers_that_disagree_support_no_verdict() -> None:
    labels, logits, _ = draw(2000, 3.0, seed=0)
    calibration = Calibration(1.0, -1.5, ((4.0, 0.0), (0.0, 9.0)), "x", "0" * 64, 1000, 1000)
    thresholds = choose_thresholds(labels, logits, calibration)
    assert thresholds.ai is None
    assert thresholds.real is None


def test_scores_that_cannot_separate_are_always_unsure() -> None:
    labels = np.arange(400) % 2
    calibration = Calibration(0.0, 0.0, ((0.0, 0.0), (0.0, 0.0)), "x", "0" * 64, 200, 200)
    thresholds = choose_thresholds(labels, np.zeros(400), calibration)
    assert thresholds.decide(0.5).value == "unsure"


def test_strong_separation_leaves_no_unsure_band_and_no_crossing() -> None:
    labels = np.arange(4000) % 2
    logits = np.where(labels == 1, 2.0, -2.0)
    logits[:20] = 0.1  # a few of each, well inside both limits
    calibration = Calibration(1.0, 0.0, ((0.0, 0.0), (0.0, 0.0)), "x", "0" * 64, 2000, 2000)
    thresholds = choose_thresholds(labels, logits, calibration)
    assert thresholds.ai is not None
    assert thresholds.real is not None
    assert thresholds.real < thresholds.ai
    assert thresholds.decide(calibration.probability(2.0)).value == "ai"
    assert thresholds.decide(calibration.probability(-2.0)).value == "real"
