"""The bootstrap of many rounds at once is the plain one, and its intervals are as wide as they say."""

import numpy as np
import pytest
from scipy import stats

from veridical.evaluation import metrics, resampling
from veridical.evaluation.intervals import percentiles
from veridical.evaluation.metrics import Labels, Scores


def overlapping(n: int, *, steps: int = 50, seed: int = 0) -> tuple[Labels, Scores]:
    """Reals and fakes whose scores overlap, rounded so that many are tied."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 < 2).astype(int)
    return labels, np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.2) * steps) / steps, 0, 1)


@pytest.mark.parametrize(("n", "steps"), [(5, 4), (40, 10), (300, 50), (300, 10**6)])
def test_metrics_of_draws_are_those_of_the_samples_drawn(n: int, steps: int) -> None:
    labels, scores = overlapping(n, steps=steps)
    (counts,) = resampling.draws(resampling.samples_within(labels.tolist()), rounds=25)
    # Another order than that of the scores, and other ties.
    logits = np.round(np.sin(9 * scores) + 3 * scores, 1)
    found = resampling.metrics_of(labels, scores, logits, counts)
    assert set(found) == set(metrics.METRICS)
    for round_, times in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(n), times)
        for name in metrics.METRICS:
            expected = metrics.measured(name, labels[drawn], scores[drawn], logits[drawn])
            assert found[name][round_] == pytest.approx(expected, abs=1e-12), name


def test_a_class_that_is_missing_leaves_what_needs_none() -> None:
    counts = np.array([[2.0, 0.0, 1.0]])
    found = resampling.probability_metrics(np.array([0, 0, 0]), np.array([0.1, 0.9, 0.4]), counts)
    assert found["brier"] == pytest.approx((2 * 0.01 + 0.16) / 3)
    assert {name for name, value in found.items() if np.isnan(value[0])} == {
        "balanced_accuracy", "f1", "mcc", "sn34",
    }  # fmt: skip


def test_each_stratum_is_drawn_as_often_as_it_has_samples() -> None:
    strata = ["a", "b", "b", "a", "b", "c"]
    counts = np.concatenate(list(resampling.draws(resampling.samples_within(strata), rounds=200)))
    for name in "abc":
        mine = [place for place, stratum in enumerate(strata) if stratum == name]
        assert (counts[:, mine].sum(axis=1) == len(mine)).all()
    # On average each sample is drawn once, and not always.
    assert counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.2)
    assert counts[:, :5].std(axis=0).min() > 0.5


def test_groups_are_drawn_whole_and_no_class_gets_lost() -> None:
    groups = ["reals", "reals", "fakes", "fakes", "fakes", "both", "both", "other fakes", ""]
    labels = np.array([0, 0, 1, 1, 1, 0, 1, 1, 0])
    counts = np.concatenate(list(resampling.draws(resampling.whole_groups(groups, labels), rounds=300)))
    for name in ("reals", "fakes", "both"):
        own = counts[:, [place for place, group in enumerate(groups) if group == name]]
        assert (own == own[:, :1]).all()
    assert (counts @ labels > 0).all()
    assert (counts @ (1 - labels) > 0).all()


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = resampling.samples_within([0, 1] * 20)
    once = np.concatenate(list(resampling.draws(plan, rounds=50)))
    other = np.concatenate(list(resampling.draws(plan, rounds=50, seed=1)))
    monkeypatch.setattr(resampling, "_BLOCK", 400)
    in_blocks = list(resampling.draws(plan, rounds=50))
    assert [len(block) for block in in_blocks] == [10] * 5
    assert np.array_equal(once, np.concatenate(in_blocks))
    assert not np.array_equal(once, other)


@pytest.mark.parametrize(("reals", "fakes", "apart"), [(80, 80, 1.0), (120, 50, 1.5)])
def test_intervals_of_auroc_hold_the_truth_as_often_as_they_say(reals: int, fakes: int, apart: float) -> None:
    rng = np.random.default_rng(1)
    truth = stats.norm.cdf(apart / np.sqrt(2))  # of two normal distributions so far apart
    labels = np.r_[np.zeros(reals, int), np.ones(fakes, int)]
    real, fake = labels == 0, labels == 1
    plan = resampling.samples_within(labels.tolist())
    held = 0
    for trial in range(1000):
        scores = rng.normal(apart * labels, 1)
        (counts,) = resampling.draws(plan, rounds=300, seed=trial)
        placed = resampling.placement(scores[real], scores[fake], counts[:, real])
        drawn = resampling.auroc(placed, counts[:, fake])
        estimate = percentiles(metrics.auroc(labels, scores), drawn, n=len(labels))
        held += estimate.low <= truth <= estimate.high
    assert 930 <= held <= 970


def test_intervals_by_group_hold_the_truth_where_those_by_sample_do_not() -> None:
    # 60 publishers of reals and 60 of fakes, 10 pictures each, which share what makes them easy or hard.
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(120), 10)
    labels = (group % 2).astype(int)
    truth = stats.norm.cdf(1 / np.sqrt(2 * (1 + 1)))
    plans = {
        "group": resampling.whole_groups([f"{g}" for g in group], labels),
        "sample": resampling.samples_within(labels.tolist()),
    }
    held = dict.fromkeys(plans, 0)
    for trial in range(200):
        scores = labels + rng.normal(0, 1, 120)[group] + rng.normal(0, 1, len(group))
        for name, plan in plans.items():
            values = []
            for counts in resampling.draws(plan, rounds=200, seed=trial):
                placed = resampling.placement(scores[labels == 0], scores[labels == 1], counts[:, labels == 0])
                values.append(resampling.auroc(placed, counts[:, labels == 1]))
            estimate = percentiles(metrics.auroc(labels, scores), np.concatenate(values), n=len(labels))
            held[name] += estimate.low <= truth <= estimate.high
    assert held["group"] >= 180
    assert held["sample"] <= 120
