from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from veridical.detectors.fusion import FusionRecipe
from veridical.errors import DataError
from veridical.evaluation.metrics import auroc
from veridical.evaluation.predictions import Prediction
from veridical.evaluation.stacking import cross_calibrated, fit_fusion, table_of

Numbers = Sequence[float | None] | np.ndarray


def rows(detector: str, logits: Numbers, labels: Sequence[int] | np.ndarray) -> list[Prediction]:
    """Predictions of one detector: sample i belongs to group i % 8 of its class; `None` is no answer."""
    return [
        Prediction(
            detector=detector,
            bundle=f"hash of {detector}",
            path=f"{i}.png",
            sha256=f"{i}",
            box="",
            label="fake" if label else "real",
            generator=f"generator {i % 8}" if label else "",
            source=f"source {i % 8}",
            group=f"{label} {i % 8}",
            score=1 / (1 + math.exp(-logit)),
            logit=float(logit),
            threshold_ai=math.nan,
            threshold_real=math.nan,
            code="",
        )
        for i, (logit, label) in enumerate(zip(logits, labels, strict=True))
        if logit is not None
    ]


def fit(predictions: Sequence[Prediction]) -> FusionRecipe:
    return fit_fusion(predictions, name="f", data="d", data_sha256="0", command="c", rounds=20)


def measured(recipe: FusionRecipe, metric: str) -> float:
    return recipe.measured[0].metrics[metric].value


LABELS = np.tile([0, 1], 200)


def noisy(seed: int, *, strength: float) -> np.ndarray:
    """Logits that tell the classes apart the better, the greater `strength`."""
    return strength * (2 * LABELS - 1) + np.random.default_rng(seed).normal(0, 1.5, len(LABELS))


def test_two_detectors_that_err_apart_are_better_together_than_either_alone() -> None:
    one, other = noisy(1, strength=1), noisy(2, strength=1)
    recipe = fit([*rows("one", one, LABELS), *rows("other", other, LABELS)])
    assert [member.detector for member in recipe.members] == ["one", "other"]
    assert [member.sha256 for member in recipe.members] == ["hash of one", "hash of other"]
    assert measured(recipe, "auroc") > max(auroc(LABELS, one), auroc(LABELS, other)) + 0.03


def test_a_detector_that_only_guesses_is_left_out_where_it_makes_the_stack_worse() -> None:
    good = noisy(1, strength=1)
    guesses = [rows(f"guess {seed}", noisy(seed, strength=0), LABELS) for seed in range(10, 16)]
    recipe = fit([*rows("good", good, LABELS), *(row for guess in guesses for row in guess)])
    assert [member.detector for member in recipe.members] == ["good"]
    assert "good alone" in recipe.description
    assert measured(recipe, "auroc") == auroc(LABELS, good)
    assert [recipe.stack([x]) for x in good] == pytest.approx(good)


@pytest.mark.parametrize("seed", range(2))
def test_the_fusion_is_never_worse_than_its_best_member_on_the_fitting_folds(seed: int) -> None:
    logits = [noisy(10 * seed + i, strength=i / 2) for i in range(4)]
    recipe = fit([row for i, each in enumerate(logits) for row in rows(f"{i}", each, LABELS)])
    best = max(auroc(LABELS, each) for each in logits)
    assert measured(recipe, "auroc") >= best


def test_a_member_that_knows_some_generators_by_heart_gains_nothing_by_it() -> None:
    """It is right on odd groups and wrong on even ones, as by memory; a random fold would believe it."""
    honest = noisy(1, strength=1)
    group = np.arange(len(LABELS)) % 8
    memory = np.where(group < 4, 1, -1) * (2 * LABELS - 1) * 3.0
    recipe = fit([*rows("honest", honest, LABELS), *rows("memory", memory, LABELS)])
    weights = {member.detector: abs(member.weight) for member in recipe.members}
    assert weights["honest"] > 4 * weights.get("memory", 0)


def test_an_answer_that_is_missing_counts_neither_way_unless_missing_itself_tells() -> None:
    one, other = noisy(1, strength=1), noisy(2, strength=1)
    by_chance = [None if i % 5 == 0 else float(x) for i, x in enumerate(other)]
    recipe = fit([*rows("one", one, LABELS), *rows("other", by_chance, LABELS)])
    assert abs(recipe.members[1].missing_weight) < 0.5
    of_fakes = [
        None if label and i % 3 else float(x) for i, (x, label) in enumerate(zip(other, LABELS, strict=True))
    ]
    recipe = fit([*rows("one", one, LABELS), *rows("other", of_fakes, LABELS)])
    assert recipe.members[1].missing_weight > 1


def test_what_is_fitted_is_calibrated_and_survives_its_file() -> None:
    recipe = fit([*rows("one", noisy(1, strength=1), LABELS), *rows("other", noisy(2, strength=1), LABELS)])
    assert recipe.calibration is not None
    assert (recipe.calibration.n_real, recipe.calibration.n_fake) == (200, 200)
    assert measured(recipe, "ece") < 0.08
    assert recipe.thresholds.ai is not None
    assert msgspec.json.decode(recipe.to_json(), type=FusionRecipe) == recipe
    assert set(recipe.measured[0].generators) == {f"generator {i}" for i in (1, 3, 5, 7)}


def test_saturated_logits_are_believed_no_further_than_a_thousand_to_one() -> None:
    saturated = np.where(np.arange(400) % 10 == 0, 30.0, noisy(1, strength=1))
    odd_scale = 1000 * noisy(2, strength=1)
    recipe = fit([*rows("saturated", saturated, LABELS), *rows("odd", odd_scale.clip(-700, 700), LABELS)])
    high = {member.detector: member.high for member in recipe.members}
    assert high.get("saturated", 6.9) == pytest.approx(6.9)
    assert high.get("odd", 700) == pytest.approx(700)


def test_predictions_stand_side_by_side_whatever_their_order() -> None:
    one, other = rows("one", [1, 2, None], [0, 1, 1]), rows("other", [4, None, 6], [0, 1, 1])
    table = table_of([*one, *reversed(other)])
    assert table.detectors == ("one", "other")
    assert table.labels.tolist() == [0, 1, 1]
    assert np.array_equal(table.logits, np.array([[1, 4], [2, np.nan], [np.nan, 6]]), equal_nan=True)


def test_predictions_that_contradict_one_another_are_refused() -> None:
    plain = rows("one", [1.0, 2.0], [0, 1])
    for wrong in (
        [*plain, plain[0]],
        [*plain, dataclasses.replace(plain[0], detector="other", label="fake")],
        [*plain, dataclasses.replace(plain[0], path="x", sha256="x", bundle="another")],
        [*plain, dataclasses.replace(plain[0], path="x", sha256="x", logit=math.inf)],
    ):
        with pytest.raises(DataError) as caught:
            table_of(wrong)
        assert caught.value.code == "bad_predictions"


def test_one_publisher_is_too_few_to_fit_on() -> None:
    same = [dataclasses.replace(row, group="one") for row in rows("one", [1.0, 2.0, 3.0], [0, 1, 1])]
    with pytest.raises(DataError, match="two groups"):
        fit(same)


def test_error_rates_are_those_of_rows_that_chose_no_threshold() -> None:
    """Of two detectors of pure noise nothing is learned, whatever the thresholds of the whole set would say."""
    noise = [np.random.default_rng(seed).normal(0, 1, len(LABELS)) for seed in (1, 2)]
    recipe = fit([*rows("a", noise[0], LABELS), *rows("b", noise[1], LABELS)])
    (measurement,) = recipe.measured
    assert measurement.role == "out_of_fold"
    low, high = measurement.metrics["auroc"].low, measurement.metrics["auroc"].high
    assert low < 0.5 < high


def test_a_publisher_is_judged_at_an_operating_point_that_it_had_no_part_in() -> None:
    """One group of reals scores above all fakes: with it no threshold would be allowed, without it one is."""
    logits = 3 * (2 * LABELS - 1) + np.random.default_rng(0).normal(0, 0.5, len(LABELS))
    odd = (LABELS == 0) & (np.arange(len(LABELS)) % 8 == 2)
    logits[odd] = 9.0
    predictions = rows("a", logits, LABELS)
    judged = cross_calibrated(predictions, [row.group for row in predictions])
    assert [row.path for row in judged] == [row.path for row in predictions]
    of_odd = [row for row, is_odd in zip(judged, odd, strict=True) if is_odd]
    assert {row.verdict.value for row in of_odd} == {"ai"}  # the fold's threshold knew nothing of it
    thresholds = {row.threshold_ai for row in judged}
    assert len(thresholds) > 1
