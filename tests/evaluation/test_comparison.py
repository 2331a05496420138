"""Two detectors on the same samples."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from veridical.errors import DataError
from veridical.evaluation.comparison import compare
from veridical.evaluation.metrics import METRICS, Scores
from veridical.evaluation.predictions import Prediction

LABELS = np.array([0, 1] * 150)


def judged(detector: str, scores: Scores, *, threshold: float = 0.7) -> list[Prediction]:
    return [
        Prediction(
            detector=detector,
            bundle=detector,
            path=f"{place}.png",
            sha256=f"{place:064x}",
            box="",
            label="fake" if label else "real",
            generator="g" if label else "",
            source="s",
            group=f"{place // 10}",
            score=float(score),
            logit=float(score),
            threshold_ai=threshold,
            threshold_real=0.1,
            code="0",
        )
        for place, (label, score) in enumerate(zip(LABELS, scores, strict=True))
    ]


def scores(noise: float, seed: int) -> Scores:
    """Scores that share most of their noise with those of any other seed."""
    common = np.random.default_rng(99).normal(0, 0.2, len(LABELS))
    own = np.random.default_rng(seed).normal(0, noise, len(LABELS))
    return np.clip(0.4 + 0.2 * LABELS + common + own, 0, 1)


def test_a_detector_is_no_better_than_itself() -> None:
    mine = judged("a", scores(0.1, 1))
    found = compare(mine, mine, rounds=100)
    assert {(d.value, d.low, d.high) for d in found.differences.values()} == {(0.0, 0.0, 0.0)}
    assert found.verdicts_at_half.p_value == 1
    assert found.n == 300


@pytest.mark.parametrize("by_group", [False, True])
def test_differences_are_those_of_the_metrics_and_turn_with_the_order(by_group: bool) -> None:
    ours, theirs = scores(0.02, 1), scores(0.2, 2)
    found = compare(judged("a", ours), judged("b", theirs), rounds=300, by_group=by_group)
    turned = compare(judged("b", theirs), judged("a", ours), rounds=300, by_group=by_group)
    for name, difference in found.differences.items():
        assert difference.value == METRICS[name](LABELS, ours) - METRICS[name](LABELS, theirs)
        assert difference.low <= difference.value <= difference.high
        assert (turned.differences[name].low, turned.differences[name].high) == pytest.approx(
            (-difference.high, -difference.low)
        )
    assert found.differences["auroc"].low > 0


def test_what_is_hard_for_both_cancels_out() -> None:
    ours, theirs = scores(0.02, 1), scores(0.05, 2)
    paired = compare(judged("a", ours), judged("b", theirs), rounds=500).differences["auroc"]
    rng = np.random.default_rng(0)

    def drawn(of: Scores) -> float:
        places = np.concatenate([rng.choice(np.flatnonzero(LABELS == y), 150) for y in (0, 1)])
        return METRICS["auroc"](LABELS[places], of[places])

    unpaired = np.quantile([drawn(ours) - drawn(theirs) for _ in range(300)], [0.025, 0.975])
    assert paired.high - paired.low < 0.6 * (unpaired[1] - unpaired[0])


def test_mcnemar_counts_the_samples_on_which_one_alone_is_right() -> None:
    # At 0.5 the first is right on the first 200 samples, the second on the last 190.
    ours = np.where(np.arange(300) < 200, LABELS, 1 - LABELS).astype(float)
    theirs = np.where(np.arange(300) >= 110, LABELS, 1 - LABELS).astype(float)
    test = compare(judged("a", ours), judged("b", theirs), rounds=100).verdicts_at_half
    assert (test.only_first_right, test.only_second_right) == (110, 100)
    by_definition = min(1, 2 * stats.binom.cdf(100, 210, 0.5))
    assert test.p_value == pytest.approx(by_definition)


def test_verdicts_at_thresholds_need_a_threshold_of_both() -> None:
    mine, other = judged("a", scores(0.1, 1)), judged("b", scores(0.1, 2), threshold=0.5)
    found = compare(mine, other, rounds=100)
    called = [(r.score >= r.threshold_ai) == (r.label == "fake") for r in mine]
    called_other = [(r.score >= r.threshold_ai) == (r.label == "fake") for r in other]
    assert found.verdicts_at_threshold is not None
    only = sum(a and not b for a, b in zip(called, called_other, strict=True))
    assert found.verdicts_at_threshold.only_first_right == only
    without = judged("c", scores(0.1, 2), threshold=float("nan"))
    assert compare(mine, without, rounds=100).verdicts_at_threshold is None


def test_only_samples_that_both_have_judged_count_and_the_rest_is_told() -> None:
    mine, other = judged("a", scores(0.1, 1)), judged("b", scores(0.2, 2))
    moved = [dataclasses.replace(r, path=f"elsewhere/{r.path}") for r in reversed(other[:250])]
    found = compare(mine[10:], moved, rounds=100)
    assert (found.n, found.left_out) == (240, (50, 10))
    again = compare(mine[10:250], other[10:250], rounds=100)
    assert found.differences == again.differences


def test_copies_of_one_picture_are_matched_one_by_one() -> None:
    mine, other = (
        [dataclasses.replace(r, sha256="same", label="real") for r in judged(name, scores(0.1, 1))[:3]]
        for name in "ab"
    )
    found = compare(mine, other, rounds=100)
    assert (found.n, found.differences) == (3, {})


def test_nothing_in_common_or_two_labels_of_one_sample_are_refused() -> None:
    mine, other = judged("a", scores(0.1, 1)), judged("b", scores(0.1, 2))
    with pytest.raises(DataError, match="no sample in common"):
        compare(mine[:10], other[10:])
    with pytest.raises(DataError, match=r"label of 7\.png"):
        compare(mine, [dataclasses.replace(r, label="real") if r.path == "7.png" else r for r in other])
