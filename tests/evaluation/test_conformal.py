"""Prediction sets cover each class as promised, over many draws, and say when they cannot promise."""

import math

import numpy as np
import pytest

from veridical.evaluation.conformal import fit_sets, set_summary


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels, two thirds real, and logits of overlapping classes, the fakes' wider."""
    labels = (rng.random(n) < 1 / 3).astype(int)
    return labels, rng.normal(labels * 1.5, 1.0 + labels)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_each_class_is_covered_as_promised_over_many_draws(alpha: float) -> None:
    rng = np.random.default_rng(0)
    covered: dict[str, list[float]] = {"covered_real": [], "covered_fake": []}
    for _ in range(300):
        sets = fit_sets(*draw(150, rng), alpha=alpha)
        found = set_summary(*draw(400, rng), sets)
        for name, values in covered.items():
            values.append(found[name].value)
    for values in covered.values():
        # The promise, and not much more: at most 1 / (n + 1) for about 50 fakes.
        assert 1 - alpha - 0.01 < np.mean(values) < 1 - alpha + 0.03


def test_the_limit_is_the_ranked_value_that_the_method_names() -> None:
    logits = np.arange(1.0, 20.0)  # 19 reals: rank ceil(20 * 0.9) = 18
    labels = np.zeros(19, dtype=int)
    sets = fit_sets(np.append(labels, 1), np.append(logits, 5.0), alpha=0.1)
    assert sets.real_to == 18.0
    assert sets.fake_from == -math.inf  # one fake is too few for any promise


def test_sets_hold_one_label_both_or_none() -> None:
    labels, logits = np.array([0, 0, 1, 1]), np.array([-2.0, 0.0, 0.0, 2.0])
    overlapping = set_summary(labels, logits, fit_sets(labels, logits, alpha=0.35))
    assert overlapping["both_labels"].value == 0.5
    assert overlapping["one_label"].value == 0.5
    apart = set_summary(
        labels, np.array([-9.0, 0.5, 0.5, 9.0]), fit_sets(labels, logits * 0 + labels, alpha=0.4)
    )
    assert apart["no_label"].value == 0.5
    assert (apart["covered_real"].n, apart["covered_fake"].n) == (2, 2)
