"""Calibration gives probabilities, and the comparison of its methods is out of fold."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from veridical.errors import DataError
from veridical.evaluation.calibration import (
    METHODS,
    Method,
    choose_method,
    compare,
    fit,
    fit_sigmoid,
    losses,
    probabilities,
)
from veridical.evaluation.metrics import brier, expected_calibration_error
from veridical.models.card import Calibration


def draw(n: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, logits whose classes lie `distance` apart, and eight publishers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, rng.normal(labels * distance, 1.0), [f"publisher {i % 8}" for i in range(n)]


def fitted(labels: np.ndarray, logits: np.ndarray, groups: list[str], method: Method = "platt") -> Calibration:
    return fit(method, labels, logits, groups, fitted_on="draw", data_sha256="0" * 64, rounds=100)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_are_calibrated_on_data_not_fitted_on(method: Method) -> None:
    calibration = fitted(*draw(2000, 1.5, seed=0), method)
    assert (calibration.method, calibration.fitted_on) == (method, "draw")
    labels, logits, _ = draw(5000, 1.5, seed=1)
    scores = np.array([calibration.probability(x) for x in logits])
    assert expected_calibration_error(labels, scores) < 0.04


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_the_interval_holds_the_probability_and_is_wider_with_less_data(method: Method) -> None:
    widths = []
    for size in (80, 4000):
        calibration = fitted(*draw(size, 1.5, seed=0), method)
        low, high = calibration.interval(1.0)
        assert 0 <= low < calibration.probability(1.0) < high <= 1
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_logits_that_point_the_wrong_way_say_nothing() -> None:
    labels, logits, groups = draw(500, -1.5, seed=0)
    calibration = fitted(labels, logits, groups)
    assert calibration.probability(-5) == calibration.probability(5) == 0.5


def test_one_class_cannot_be_calibrated_on() -> None:
    _, logits, _ = draw(40, 1.5, seed=0)
    with pytest.raises(DataError, match="too few publishers"):
        fit("platt", np.zeros(40, int), logits, ["one", "other"] * 20, fitted_on="", data_sha256="", rounds=100)


def test_the_temperature_is_the_one_of_least_log_loss() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 4000)
    labels = (rng.random(4000) < scipy.special.expit(logits / 2.5)).astype(int)
    calibration = fit_sigmoid(labels, logits, with_intercept=False)
    assert calibration.intercept == 0
    weights = np.where(labels == 1, 1 / labels.sum(), 1 / (1 - labels).sum())

    def loss(slope: float) -> float:
        return float((weights * np.logaddexp(0, np.where(labels == 1, -1, 1) * slope * logits)).sum())

    best = scipy.optimize.minimize_scalar(loss, bounds=(0.01, 5), method="bounded").x
    assert calibration.slope == pytest.approx(best, rel=0.01)
    assert 1 / calibration.slope == pytest.approx(2.5, rel=0.15)


def test_isotonic_never_falls_and_stays_off_certainty() -> None:
    labels, logits, groups = draw(300, 4.0, seed=0)
    calibration = fitted(labels, logits, groups, "isotonic")
    scores = probabilities(calibration, np.sort(logits))
    assert (np.diff(scores) >= 0).all()
    assert scores[0] == pytest.approx(1 / ((labels == 0).sum() + 2))
    assert scores[-1] == pytest.approx(1 - 1 / ((labels == 1).sum() + 2))
    assert len(fitted(*draw(5000, 1.0, seed=1), "isotonic").table) <= 200


def test_losses_are_those_of_a_set_with_as_many_reals_as_fakes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(90)
    labels = np.array([0] * 60 + [1] * 30)
    twice = np.concatenate([np.arange(90), np.arange(60, 90)])  # each fake two times
    weighted = losses(labels, scores, rounds=100)
    assert weighted["brier"].value == pytest.approx(brier(labels[twice], scores[twice]))
    assert weighted["ece"].value == pytest.approx(expected_calibration_error(labels[twice], scores[twice]))
    expected = -np.log(np.where(labels == 1, scores, 1 - scores))[twice].mean()
    assert weighted["log_loss"].value == pytest.approx(expected)


def test_the_comparison_is_on_publishers_that_the_fit_did_not_see() -> None:
    """Each publisher's pictures are all alike: whoever sees one of a publisher's pictures knows the others."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40) % 2, 5)
    logits = np.repeat(rng.normal(0, 3, 40), 5)
    groups = [f"publisher {i // 5}" for i in range(200)]
    seen = losses(labels, probabilities(METHODS["isotonic"](labels, logits), logits), rounds=100)
    found = compare(labels, logits, groups, rounds=100)
    assert set(found) == {"none", "temperature", "platt", "isotonic"}
    assert seen["log_loss"].value < 0.69 < found["isotonic"]["log_loss"].value
    assert choose_method(found) != "isotonic"


def test_the_method_with_the_least_loss_out_of_fold_is_chosen() -> None:
    rng = np.random.default_rng(0)
    logits = rng.uniform(-4, 4, 2000)
    truths = {
        "temperature": scipy.special.expit(0.5 * logits),
        "platt": scipy.special.expit(0.5 * logits + 2),
        "isotonic": np.where(np.abs(logits) < 2, 0.5, np.where(logits > 0, 0.9, 0.1)),
    }
    groups = [str(i % 50) for i in range(2000)]
    chosen = set()
    for name, truth in truths.items():
        found = compare((rng.random(2000) < truth).astype(int), logits, groups, rounds=100)
        if name == "temperature":  # of which Platt's is one more, and as good
            assert found["temperature"]["log_loss"].value == pytest.approx(
                found["platt"]["log_loss"].value, abs=2e-3
            )
        else:
            assert choose_method(found) == name
            chosen.add(name)
    assert chosen == {"platt", "isotonic"}
