"""Changes under perturbation are those of the same samples, and flipped verdicts are counted by hand."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from veridical.data.perturbations import NAMED
from veridical.errors import DataError
from veridical.evaluation import metrics, resampling
from veridical.evaluation.intervals import bootstrap, wilson
from veridical.evaluation.predictions import Prediction
from veridical.evaluation.robustness import CELLS, measure, to_json
from veridical.models.card import Estimate

ROW = Prediction(
    detector="d",
    bundle="b",
    path="",
    sha256="",
    box="",
    label="fake",
    generator="sdxl",
    source="s",
    group="p",
    score=0.5,
    logit=0.0,
    threshold_ai=0.8,
    threshold_real=0.2,
    code="0.1.0",
)


def rows(
    reals: list[float], fakes: list[float], perturbation: str = "none", generators: str = "g"
) -> list[Prediction]:
    """Real samples r0, r1, ... and fake f0, f1, ..., whose generators take turns."""
    return [
        dataclasses.replace(
            ROW,
            path=f"{label[0]}{index}",
            label=label,
            generator=generators[index % len(generators)] if label == "fake" else "",
            score=score,
            logit=score,
            perturbation=perturbation,
        )
        for label, scores in (("real", reals), ("fake", fakes))
        for index, score in enumerate(scores)
    ]


def scores(seed: int, n: int, centre: float) -> list[float]:
    return list(np.clip(np.random.default_rng(seed).normal(centre, 0.2, n), 0, 1).round(2))  # rounded: ties


def jittered(values: list[float], seed: int) -> list[float]:
    return list(np.clip(values + np.random.default_rng(seed).normal(-0.05, 0.05, len(values)), 0, 1).round(2))


REALS, FAKES = scores(0, 60, 0.4), scores(1, 80, 0.6)
AFTER = rows(jittered(REALS, 2), jittered(FAKES, 3), "jpeg_75", generators="gh")
BOTH = rows(REALS, FAKES, generators="gh") + AFTER


def triple(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def test_nothing_changes_where_nothing_happens() -> None:
    made = rows(REALS, FAKES) + rows(REALS, FAKES, "jpeg_95")
    for found in measure(made, rounds=200)["d"].values():
        for name in ("auroc_change", "tpr_at_fpr_5_change", "balanced_accuracy_change"):
            assert triple(found.cells[name]) == triple(found.generators["g"][name]) == (0, 0, 0)
        for name in ("verdict_flips", "verdicts_lost", "half_crossed"):
            assert found.cells[name].value == 0


def test_the_change_is_a_paired_bootstrap_by_scikit_learn_on_the_same_draws() -> None:
    found = measure(BOTH, rounds=200)["d"]["jpeg_75"].cells
    before, after = (np.array([row.score for row in made]) for made in (BOTH[: len(AFTER)], AFTER))
    labels = np.array([row.label == "fake" for row in AFTER], dtype=int)
    differences, values = [], []
    for counts in np.concatenate(
        list(resampling.draws(resampling.samples_within(labels.tolist()), rounds=200))
    ):
        drawn = np.repeat(np.arange(len(labels)), counts.astype(int))
        values.append(roc_auc_score(labels[drawn], after[drawn]))
        differences.append(values[-1] - roc_auc_score(labels[drawn], before[drawn]))
    low, high = np.quantile(differences, [0.025, 0.975])
    change = roc_auc_score(labels, after) - roc_auc_score(labels, before)
    assert triple(found["auroc_change"]) == pytest.approx((change, low, high))
    low, high = np.quantile(values, [0.025, 0.975])
    assert triple(found["auroc"]) == pytest.approx((roc_auc_score(labels, after), low, high))


@pytest.mark.parametrize("name", ["auroc", "tpr_at_fpr_5", "balanced_accuracy"])
def test_the_metric_after_has_the_interval_of_the_plain_bootstrap(name: str) -> None:
    found = measure(BOTH, rounds=2000)["d"]["jpeg_75"].cells[name]
    labels = np.array([row.label == "fake" for row in AFTER], dtype=int)
    after = np.array([row.score for row in AFTER])
    plain = bootstrap(metrics.METRICS[name], labels, after, rounds=300, seed=5)
    assert found.value == plain.value
    assert (found.low, found.high, found.n) == pytest.approx((plain.low, plain.high, plain.n), abs=0.04)


def test_pairing_makes_the_interval_of_a_change_narrow() -> None:
    found = measure(BOTH, rounds=500)["d"]
    paired = found["jpeg_75"].cells["auroc_change"]
    alone = [found[name].cells["auroc"] for name in ("none", "jpeg_75")]
    unpaired = math.hypot(*(estimate.high - estimate.low for estimate in alone))
    assert paired.high - paired.low < 0.6 * unpaired


def test_flipped_and_lost_verdicts_are_shares_of_the_verdicts_there_were() -> None:
    #            ai     ai    ai    unsure  real
    reals, fakes = [0.9], [0.9, 0.85, 0.5, 0.1]
    after = rows([0.1], [0.95, 0.5, 0.9, 0.9], "blur_1")
    found = measure(rows(reals, fakes) + after, rounds=100)["d"]["blur_1"]
    assert found.cells["verdict_flips"] == wilson(2, 4)  # the real from ai to real, the last fake the other way
    assert found.cells["verdicts_lost"] == wilson(1, 4)
    assert found.cells["half_crossed"] == wilson(2, 5)
    assert found.generators["g"]["verdict_flips"] == wilson(1, 3)
    assert (found.operation, found.severity) == ("blur", "sigma 1")


def test_a_detector_without_thresholds_has_no_verdicts_to_flip_but_scores_that_cross_the_middle() -> None:
    made = rows([0.1], [0.9]) + rows([0.1], [0.2], "jpeg_30")
    made = [dataclasses.replace(row, threshold_ai=math.nan, threshold_real=math.nan) for row in made]
    cells = measure(made, rounds=100)["d"]["jpeg_30"].cells
    assert cells["verdict_flips"].n == cells["verdicts_lost"].n == 0
    assert math.isnan(cells["verdict_flips"].value)
    assert cells["half_crossed"].value == 0.5


def test_each_generator_meets_all_the_reals() -> None:
    made = rows([0.2, 0.3], [0.9, 0.8], generators="gh") + rows([0.2, 0.3], [0.9, 0.25], "crop_0.8", "gh")
    generators = measure(made, rounds=100)["d"]["crop_0.8"].generators
    assert generators["g"]["auroc"] == Estimate(1.0, 1.0, 1.0, n=1)
    assert generators["h"]["auroc"].value == 0.5
    assert generators["h"]["auroc_change"].value == -0.5
    assert generators["h"]["auroc_change"].n == 1


def test_only_samples_with_both_scores_are_compared_and_the_others_counted() -> None:
    made = rows([0.1, 0.2], [0.9, 0.8]) + rows([0.1, 0.2], [0.9], "jpeg_50")
    found = measure(made, rounds=100)["d"]["jpeg_50"]
    assert (found.left_out, found.cells["auroc"].n) == (1, 3)


def test_perturbations_stand_in_their_own_order_and_detectors_apart() -> None:
    names = ["random_3", "noise_0.02", "jpeg_95", "mine", "none"]
    made = [row for name in names for row in rows([0.1], [0.9], name)]
    made += [dataclasses.replace(row, detector="e", bundle="c") for row in made]
    table = measure(made, rounds=100)
    assert set(table) == {"d", "e"}
    assert list(table["e"]) == [*(name for name in NAMED if name in names), "mine"]
    assert table["e"]["mine"].operation == "mine"


def test_fakes_alone_have_verdicts_but_no_ranking() -> None:
    table = measure(rows([], [0.9]) + rows([], [0.1], "jpeg_30"), rounds=100)
    assert "auroc" not in table["d"]["jpeg_30"].cells
    assert table["d"]["jpeg_30"].cells["verdict_flips"].value == 1
    cells = to_json(table)["d"]["jpeg_30"]
    assert set(CELLS) <= set(cells)
    assert isinstance(cells["auroc"], Estimate)
    assert cells["auroc"].n == 0


def test_without_perturbed_rows_it_says_how_to_make_them() -> None:
    with pytest.raises(DataError, match="no perturbed") as caught:
        measure(rows([0.1], [0.9]))
    assert "--perturbation all" in (caught.value.hint or "")


def test_what_cannot_be_compared_is_said() -> None:
    clean, after = rows([0.1], [0.9]), rows([0.1], [0.9], "jpeg_30")
    others = {
        "another bundle": [dataclasses.replace(row, bundle="other") for row in after],
        "labels differ": [dataclasses.replace(row, label="real") for row in after],
        "none of the same samples": [dataclasses.replace(row, box="0,0,8,8") for row in after],
        "judged none": [dataclasses.replace(row, detector="e") for row in after],
        "answers twice": after + after,
    }
    for why, perturbed in others.items():
        with pytest.raises(DataError, match=why) as caught:
            measure(clean + perturbed)
        assert caught.value.code == "bad_predictions"
    with pytest.raises(DataError, match="'none'"):
        measure(after)
