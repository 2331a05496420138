"""Thresholds keep their promise, for each source too, and ignorance becomes `unsure`."""

import numpy as np
import pytest

from veridical.evaluation.calibration import fit, probabilities
from veridical.evaluation.intervals import wilson
from veridical.evaluation.thresholds import LEAST_OF_PUBLISHER, MOST_OF_PUBLISHER, choose_thresholds, promises
from veridical.models.card import Calibration
from veridical.results import Thresholds

CERTAIN = Calibration(1.0, 0.0, ((0.0, 0.0), (0.0, 0.0)), "x", "0" * 64, 1, 1)


def draw(n: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, logits whose classes lie `distance` apart, and eight publishers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, rng.normal(labels * distance, 1.0), [f"publisher {i % 8}" for i in range(n)]


def test_thresholds_keep_the_upper_bounds_of_their_errors() -> None:
    labels, logits, groups = draw(2000, 2.0, seed=0)
    calibration = fit("platt", labels, logits, groups, fitted_on="", data_sha256="", rounds=100)
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


def test_a_publisher_that_is_hard_raises_the_threshold_and_one_of_few_pictures_does_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 2200 + [1] * 2000)
    logits = np.concatenate([rng.normal(-2, 1, 2000), rng.normal(0.5, 1, 200), rng.normal(2, 1, 2000)])
    plain = choose_thresholds(labels, logits, CERTAIN)
    assert plain.ai is not None
    scores = probabilities(CERTAIN, logits)
    for size in (200, LEAST_OF_PUBLISHER, LEAST_OF_PUBLISHER - 1):
        sources = ["easy"] * (2200 - size) + ["hard"] * size + ["any"] * 2000
        found = choose_thresholds(labels, logits, CERTAIN, publishers=sources)
        assert found.ai is not None
        hard = scores[2200 - size : 2200]
        if size < LEAST_OF_PUBLISHER:
            assert found == plain
        else:
            assert found.ai > plain.ai
            assert (hard >= found.ai).mean() <= MOST_OF_PUBLISHER


def test_a_publisher_that_looks_fake_leaves_no_threshold_and_one_of_few_pictures_does() -> None:
    for size, kept in ((200, False), (LEAST_OF_PUBLISHER - 1, True)):
        labels = np.array([0] * 1000 + [0] * size + [1] * 1000)
        wrong = size * 12 // 100
        logits = np.array([-4.0] * 1000 + [4.0] * wrong + [-4.0] * (size - wrong) + [4.0] * 1000)
        sources = ["large"] * 1000 + ["odd"] * size + [""] * 1000
        assert choose_thresholds(labels, logits, CERTAIN, reals_called_ai=0.03).ai is not None
        found = choose_thresholds(labels, logits, CERTAIN, reals_called_ai=0.03, publishers=sources)
        assert (found.ai is not None) == kept


def test_what_is_promised_of_a_source_is_kept_broken_or_not_measured() -> None:
    labels = np.array([0] * 400 + [0] * 150 + [0] * 20 + [1] * 50)
    scores = np.array([0.1] * 400 + [0.1] * 130 + [0.9] * 20 + [0.1] * 20 + [0.9] * 50)
    sources = ["good"] * 400 + ["bad"] * 150 + ["small"] * 20 + ["fakes"] * 50
    found = promises(labels, scores, sources, Thresholds(ai=0.5, real=None), fpr=0.05)
    assert {name: promise.kept for name, promise in found.items()} == {
        "good": True,
        "bad": False,
        "small": None,
    }
    assert found["bad"].fpr == wilson(20, 150)
    never = promises(labels, scores, sources, Thresholds(ai=None, real=None), fpr=0.05)
    assert {promise.fpr.value for promise in never.values()} == {0.0}


def test_fakes_of_one_publisher_that_look_real_withhold_the_verdict_real() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 1], [1000, 2000, 150])
    logits = np.concatenate([rng.normal(-2, 0.5, 1000), rng.normal(2, 0.5, 2000), rng.normal(-2, 0.5, 150)])
    publishers = ["camera"] * 1000 + ["art"] * 2000 + ["photo-like"] * 150
    drowned = choose_thresholds(labels, logits, CERTAIN, fakes_called_real=0.1)
    assert drowned.real is not None
    seen = choose_thresholds(labels, logits, CERTAIN, fakes_called_real=0.1, publishers=publishers)
    called = probabilities(CERTAIN, logits[3000:]) <= (seen.real or 0)
    assert called.mean() <= 0.1
    assert (seen.real or 0) < drowned.real
