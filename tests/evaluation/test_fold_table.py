"""The table of a leave-one-out run."""

import dataclasses

import numpy as np
import pytest

from veridical.evaluation.fold_table import fold_table, mean_of_folds
from veridical.evaluation.metrics import auroc
from veridical.evaluation.predictions import Prediction, as_arrays

ROW = Prediction(
    detector="d without g",
    bundle="",
    path="",
    sha256="",
    box="",
    label="real",
    generator="",
    source="camera",
    group="",
    score=0.0,
    logit=0.0,
    threshold_ai=np.nan,
    threshold_real=np.nan,
    code="0",
)


def fold(distance: float, seed: int) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    return [
        dataclasses.replace(
            ROW,
            path=f"{seed} {place}",
            label="fake" if place % 2 else "real",
            score=score,
            logit=score,
        )
        for place in range(60)
        for score in [float(np.clip(rng.normal(0.4 + distance * (place % 2), 0.2), 0, 1))]
    ]


def test_each_fold_has_its_metrics_and_the_mean_is_that_of_the_folds() -> None:
    folds = {name: fold(0.1 * place, place) for place, name in enumerate("abcd")}
    table = fold_table(folds, rounds=100)
    values = [auroc(*as_arrays(rows)[:2]) for rows in folds.values()]
    assert [cells["auroc"].value for cells in table.values()] == pytest.approx(values)
    mean = mean_of_folds(table)["auroc"]
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.n == 4
    assert min(values) <= mean.low < mean.value < mean.high <= max(values)


def test_folds_that_all_say_the_same_leave_no_doubt_and_a_fold_of_reals_has_no_auroc() -> None:
    same = fold(0.2, 0)
    reals = [row for row in same if row.label == "real"]
    table = fold_table({"a": same, "b": same, "c": reals}, rounds=100)
    means = mean_of_folds(table)
    assert "auroc" not in table["c"]
    assert (means["auroc"].n, means["real_accuracy"].n) == (2, 3)
    assert means["auroc"].low == means["auroc"].high == means["auroc"].value
