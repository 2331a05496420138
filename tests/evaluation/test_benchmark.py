"""What `bench` measures of one detector: every cell, against plain computations on the same rows."""

import dataclasses
import json
import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from veridical.errors import DataError
from veridical.evaluation.benchmark import (
    CELLS,
    UNSTATED,
    by_detector,
    measure,
    per_generator,
    per_source,
    summarise,
    to_json,
    to_rows,
)
from veridical.evaluation.metrics import METRICS
from veridical.evaluation.predictions import Prediction
from veridical.models.card import Estimate


def row(label: str, stratum: str, score: float, **changes: object) -> Prediction:
    made = Prediction(
        detector="d",
        bundle="b",
        path="",
        sha256="",
        box="",
        label=label,
        generator=stratum if label == "fake" else "",
        source=stratum if label == "real" else "made",
        group=stratum,
        score=score,
        logit=score,
        threshold_ai=0.8,
        threshold_real=0.2,
        code="0",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type] # its fields


def a_set(seed: int = 0) -> list[Prediction]:
    """60 reals of two sources and 45 fakes of three generators, the last one hard."""
    rng = np.random.default_rng(seed)
    kinds = [("real", "coco", 0.3)] * 40 + [("real", "afhq", 0.4)] * 20
    kinds += [("fake", "sdxl", 0.7)] * 20 + [("fake", "flux", 0.6)] * 15 + [("fake", "hard", 0.35)] * 10
    return [
        row(label, stratum, float(np.clip(rng.normal(mean, 0.2), 0, 1)), path=f"{place}.png")
        for place, (label, stratum, mean) in enumerate(kinds)
    ]


def auroc(reals: Sequence[Prediction], fakes: Sequence[Prediction]) -> float:
    rows = [*reals, *fakes]
    return float(roc_auc_score([r.label == "fake" for r in rows], [r.score for r in rows]))


def split(rows: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    return [r for r in rows if r.label == "real"], [r for r in rows if r.label == "fake"]


def test_every_cell_has_a_value_inside_its_interval_and_its_n() -> None:
    rows = a_set()
    reals, fakes = split(rows)
    found = measure(rows, rounds=200)
    # Its publishers have one class each.
    assert set(found.metrics) == set(CELLS) - {"within"}
    for _, table, name, metric, cell in to_rows({"d": found}):
        assert cell.low <= cell.value <= cell.high, (table, name, metric)
    of_reals = {"real_accuracy", "fpr", "reals_called_real"}
    of_fakes = {"fake_accuracy", "tpr", "fakes_called_real"}
    for name, cell in found.metrics.items():
        assert cell.n == (len(reals) if name in of_reals else len(fakes) if name in of_fakes else len(rows))


def test_values_are_those_of_the_metrics_and_rates_of_the_verdicts() -> None:
    rows = a_set()
    labels, scores = np.array([int(r.label == "fake") for r in rows]), np.array([r.score for r in rows])
    found = summarise(rows, rounds=100)
    for name, metric in METRICS.items():
        assert found[name].value == metric(labels, scores)
    assert found["accuracy"].value == np.mean((scores >= 0.5) == labels)
    assert found["accuracy_at_threshold"].value == np.mean((scores >= 0.8) == labels)
    assert found["real_accuracy"].value == np.mean(scores[labels == 0] < 0.5)
    assert found["fake_accuracy"].value == np.mean(scores[labels == 1] >= 0.5)
    assert found["unsure"].value == np.mean((scores < 0.8) & (scores > 0.2))


def test_inside_publishers_the_style_of_a_set_tells_nothing() -> None:
    """Two publishers, one of whom scores high throughout; inside each, reals and fakes are told by half."""
    rows = [
        dataclasses.replace(row(label, "s", 0.5), group=group, logit=base + step + 0.5 * (label == "fake"))
        for group, base in (("low", 0.0), ("high", 100.0))
        for step in range(6)
        for label in ("real", "fake")
    ]
    alone = [dataclasses.replace(row("fake", "s", 0.5), group="fakes only", logit=200.0) for _ in range(9)]
    found = summarise([*rows, *alone], rounds=200)["within"]
    expected = np.mean([step + 0.5 > other for step in range(6) for other in range(6)])
    assert found.value == pytest.approx(expected)
    assert found.n == len(rows)
    assert found.low < found.value < found.high
    assert "within" not in summarise(alone, rounds=100)


def test_a_flat_calibration_does_not_erase_the_order_of_the_logits() -> None:
    rows = [
        dataclasses.replace(row(label, "s", 0.5), logit=logit)
        for label, logit in (("real", -1.0), ("real", 0.2), ("fake", 0.1), ("fake", 2.0))
    ]
    found = summarise(rows, rounds=100)
    assert found["auroc"].value == 0.75
    assert found["brier"].value == 0.25


def test_a_verdict_that_a_gate_withholds_counts_as_none() -> None:
    rows = [row(label, "s", score) for label in ("real", "fake") for score in (0.1, 0.9)]
    gated = [dataclasses.replace(r, codes="flat_picture") for r in rows]
    found = summarise([*rows, *gated], rounds=100)
    assert found["fpr"].value == found["tpr"].value == found["fakes_called_real"].value == 0.25
    assert found["unsure"].value == 0.5
    assert found["accuracy_at_threshold"].value == found["accuracy"].value == 0.5


def test_the_confusion_counts_verdicts_at_half() -> None:
    rows = [row("real", "s", s) for s in (0.1, 0.5)] + [row("fake", "g", s) for s in (0.4, 0.5, 0.6)]
    counts = measure(rows, rounds=100).confusion
    assert (counts.tp, counts.fp, counts.tn, counts.fn) == (2, 1, 1, 1)


def test_generators_meet_all_reals_sources_all_fakes_and_the_mean_is_theirs() -> None:
    rows = a_set()
    reals, fakes = split(rows)
    found = measure(rows, rounds=300)
    areas = {name: auroc(reals, [r for r in fakes if r.generator == name]) for name in ("flux", "hard", "sdxl")}
    assert {name: cells["auroc"].value for name, cells in found.generators.items()} == pytest.approx(areas)
    assert {name: cells["tpr"].n for name, cells in found.generators.items()} == {
        "flux": 15,
        "hard": 10,
        "sdxl": 20,
    }
    for name, cells in found.sources.items():
        own = [r for r in reals if r.source == name]
        assert cells["auroc"].value == pytest.approx(auroc(own, fakes))
        assert cells["auroc"].n == cells["fpr"].n == len(own)
    mean = found.generator_mean["auroc"]
    assert mean.value == pytest.approx(np.mean(list(areas.values())))
    assert mean.n == 3
    # Unlike in the AUROC of all images, the hard generator weighs as much as the others here.
    assert mean.value < found.metrics["auroc"].value


def test_an_interval_of_a_generator_is_that_of_a_plain_bootstrap() -> None:
    rows = a_set()
    reals, fakes = split(rows)
    real_scores = np.array([r.score for r in reals])
    own = np.array([r.score for r in fakes if r.generator == "flux"])
    rng = np.random.default_rng(5)
    drawn = [(rng.choice(own, 15)[:, None] > rng.choice(real_scores, 60)).mean() for _ in range(3000)]
    cell = per_generator(rows, rounds=3000)["flux"]["auroc"]
    assert (cell.low, cell.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.015)


def test_contents_are_sets_of_their_own() -> None:
    rows = [dataclasses.replace(r, content="face" if i % 2 else "") for i, r in enumerate(a_set())]
    found = measure(rows, rounds=100).contents
    assert set(found) == {"face", UNSTATED}
    faces = [r for r in rows if r.content == "face"]
    assert found["face"]["auroc"].value == pytest.approx(auroc(*split(faces)))
    assert measure(a_set(), rounds=100).contents == {}


def test_whole_groups_give_wider_intervals_and_no_narrower_rates() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for place in range(20):
        label, shift = ("fake" if place % 2 else "real"), rng.normal(0, 0.2)
        rows += [
            row(label, f"s{place}", float(np.clip(rng.normal(0.5 + 0.1 * (place % 2) + shift, 0.05), 0, 1)))
            for _ in range(20)
        ]
    by_sample, by_group = summarise(rows, rounds=300), summarise(rows, rounds=300, by_group=True)

    def width(cell: Estimate) -> float:
        return cell.high - cell.low

    assert width(by_group["auroc"]) > 2 * width(by_sample["auroc"])
    assert width(by_group["accuracy"]) > 1.5 * width(by_sample["accuracy"])
    # No fake is called real by either; the bootstrap would know that for certain.
    sure = [dataclasses.replace(r, threshold_real=-1.0) for r in rows]
    assert summarise(sure, rounds=100, by_group=True)["fakes_called_real"].high > 0
    for table in (per_generator(rows, rounds=100, by_group=True), per_source(rows, rounds=100, by_group=True)):
        assert all(cell.low <= cell.value <= cell.high for cells in table.values() for cell in cells.values())


@pytest.mark.parametrize(
    "rows",
    [
        [row("real", "s", 0.3), row("real", "s", 0.9)],
        [row("fake", "g", 0.3)],
        [row("real", "s", 0.3), row("fake", "g", 0.3)],
        [row("fake", "g", 1.0, threshold_ai=math.nan, threshold_real=math.nan, content="x")],
    ],
)
@pytest.mark.parametrize("by_group", [False, True])
def test_the_smallest_sets_give_valid_json(rows: list[Prediction], by_group: bool) -> None:
    found = measure(rows, rounds=100, by_group=by_group)
    told = json.loads(msgspec.json.encode(to_json({"d": found})), parse_constant=pytest.fail)["d"]
    assert set(CELLS) < set(told)
    has_both = {r.label for r in rows} == {"real", "fake"}
    assert (told["auroc"]["value"] is None) == (not has_both)
    assert told["accuracy"]["n"] == len(rows)
    assert told["brier"]["value"] is not None
    assert set(told["generators"]) == {r.generator for r in rows if r.label == "fake"}
    for _, _, _, _, cell in to_rows({"d": found}):
        assert cell.low <= cell.value <= cell.high


def test_rows_of_another_perturbation_are_left_out_and_counted() -> None:
    rows = a_set()
    worse = [dataclasses.replace(r, perturbation="jpeg75") for r in rows]
    chosen, left_out = by_detector([*rows, *worse])
    assert chosen == {"d": rows}
    assert left_out == {"jpeg75": 105}
    assert by_detector([*rows, *worse], perturbation="jpeg75")[0] == {"d": worse}
    with pytest.raises(DataError, match="jpeg75"):
        by_detector(worse, perturbation="jpg75")


def test_two_answers_or_two_detectors_of_one_name_are_refused() -> None:
    rows = a_set()
    with pytest.raises(DataError, match="answers twice for 0.png"):
        by_detector([*rows, rows[0]])
    with pytest.raises(DataError, match="two different detectors are called 'd'"):
        by_detector([*rows, dataclasses.replace(rows[0], bundle="other", path="else.png")])
