"""Calibrated here, measured there: what is fitted, what is refused, and what the new card says."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from veridical.data.samples import Sample, data_sha256
from veridical.errors import DataError, UsageError
from veridical.evaluation.calibration_report import (
    PredictedSet,
    calibrate,
    calibrated_card,
    in_split,
    predicted_set,
)
from veridical.evaluation.predictions import Prediction
from veridical.models.card import Card, Paper, PixelInput
from veridical.results import Box, Label

CARD = Card(
    name="drawn",
    version="1",
    architecture="none",
    description="Drawn numbers.",
    licence="MIT",
    paper=Paper("Us", "On numbers", "Here", "https://example.org"),
    input=PixelInput(kind="crops", size=64),
    parameters=1,
    files={},
)


def rows(prefix: str, n: int = 400, *, seed: int, slope: float = 9.0) -> list[Prediction]:
    """Logits of a detector that says too much by `slope`; the reals come from two sources."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = slope * (rng.normal(2.0 * labels - 1.0, 1.0))
    return [
        Prediction(
            detector="drawn",
            bundle="b" * 64,
            path=f"{prefix}/{place}.png",
            sha256=f"{prefix}{place:060d}",
            box="",
            label="fake" if label else "real",
            generator="sdxl" if label else "",
            source="" if label else ("camera" if place % 10 else "scanner"),
            group=f"{prefix} {place % 10}",
            score=float(1 / (1 + np.exp(-logit))),
            logit=float(logit),
            threshold_ai=np.nan,
            threshold_real=np.nan,
            code="0",
        )
        for place, (label, logit) in enumerate(zip(labels.tolist(), logits.tolist(), strict=True))
    ]


def a_set(name: str, chosen: Sequence[Prediction]) -> PredictedSet:
    return PredictedSet(name, tuple(chosen))


FIT, REPORT = a_set("fit", rows("f", seed=0)), a_set("report", rows("r", seed=1))


def test_a_detector_that_boasts_is_calibrated_on_one_set_and_better_on_the_other() -> None:
    found = calibrate(FIT, REPORT, fpr=0.05, rounds=100)
    assert found.fit.data_sha256 != found.report.data_sha256
    assert found.calibration.data_sha256 == found.fit.data_sha256
    assert (found.fit.n_real, found.fit.n_fake, found.fit.groups) == (200, 200, 10)
    assert found.after["log_loss"].high < found.before["log_loss"].low
    assert found.after["ece"].value < found.before["ece"].value / 2
    assert found.method == min(
        ("temperature", "platt", "isotonic"), key=lambda name: found.comparison[name]["log_loss"].value
    )
    assert found.thresholds.ai is not None
    assert found.metrics["fpr"].value < 0.05
    assert found.metrics["unsure"].value < 1
    assert found.sources_of_fit["camera"].kept is True
    assert found.sources["scanner"].kept is None
    assert found.sources["scanner"].fpr.n == 40
    for label in ("real", "fake"):
        assert found.conformal[f"covered_{label}"].low < 0.9 < found.conformal[f"covered_{label}"].high + 0.02
    assert found.coverage["risk_at_coverage_50"].value < found.coverage["risk_at_coverage_100"].value
    for estimate in (json.loads(msgspec.json.encode(found))["coverage"]).values():
        assert set(estimate) == {"value", "low", "high", "n"}


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_the_new_card_has_both_hashes_and_gives_the_measured_numbers(method: str) -> None:
    found = calibrate(FIT, REPORT, method=method, rounds=100)  # type: ignore[arg-type] # of the three
    card = calibrated_card(CARD, found, REPORT, command="again")
    assert card.calibration == found.calibration
    assert card.calibration is not None
    assert card.calibration.method == method
    (measured,) = card.measured
    assert (measured.data_sha256, measured.split, measured.command) == (
        found.report.data_sha256,
        "report",
        "again",
    )
    assert card.calibration.data_sha256 == found.fit.data_sha256
    called = [card.thresholds.decide(card.calibration.probability(row.logit)) for row in REPORT.rows]
    reals = [verdict for verdict, row in zip(called, REPORT.rows, strict=True) if row.label == "real"]
    assert measured.metrics["fpr"].value == pytest.approx(np.mean([verdict == "ai" for verdict in reals]))
    assert "aurc" in measured.metrics
    assert any("camera" in sentence and "not measured: scanner" in sentence for sentence in card.limits)
    assert msgspec.json.decode(card.to_json(), type=Card) == card


def test_a_threshold_that_no_set_supports_is_said_in_the_card() -> None:
    guess = [dataclasses.replace(row, logit=float(place % 7)) for place, row in enumerate(FIT.rows)]
    found = calibrate(a_set("fit", guess), REPORT, method="platt", rounds=100)
    assert found.thresholds.ai is None
    assert any("never given" in line for line in calibrated_card(CARD, found, REPORT, command="").limits)


def test_files_in_both_sets_are_refused_and_publishers_in_both_are_noted() -> None:
    with pytest.raises(DataError, match="in fit and in report") as caught:
        calibrate(FIT, a_set("report", [*REPORT.rows, FIT.rows[3]]))
    assert caught.value.code == "overlapping_splits"
    same = [dataclasses.replace(row, group=row.group.replace("r", "f")) for row in REPORT.rows]
    found = calibrate(FIT, a_set("report", same), method="platt", rounds=100)
    assert "10 publishers" in found.notes[0]


def test_two_detectors_or_one_class_are_refused() -> None:
    other = [dataclasses.replace(row, bundle="c" * 64) for row in REPORT.rows]
    with pytest.raises(UsageError, match="one detector"):
        calibrate(FIT, a_set("report", other))
    with pytest.raises(DataError, match="real and fake"):
        calibrate(FIT, a_set("report", [row for row in REPORT.rows if row.label == "real"]))


def test_the_rows_of_one_detector_and_of_untouched_pictures_are_taken() -> None:
    every = [
        *FIT.rows,
        *(dataclasses.replace(row, detector="other") for row in FIT.rows),
        *(dataclasses.replace(row, perturbation="jpeg:50") for row in FIT.rows),
    ]
    assert predicted_set("fit", every, detector="drawn") == FIT
    with pytest.raises(UsageError, match="drawn, other"):
        predicted_set("fit", every)
    with pytest.raises(UsageError, match="nobody"):
        predicted_set("fit", every, bundle="d" * 64)


def test_the_hash_is_that_of_the_samples_themselves() -> None:
    samples = [
        Sample(Path("a.png"), Label.FAKE, "g", "s", "p", sha256="1" * 64, box=Box(1, 2, 30, 40)),
        Sample(Path("b.png"), Label.REAL, "", "s", "p", sha256="2" * 64),
    ]
    predicted = a_set(
        "two",
        [
            dataclasses.replace(FIT.rows[0], sha256="2" * 64, label="real"),
            dataclasses.replace(FIT.rows[1], sha256="1" * 64, label="fake", box="1,2,30,40"),
        ],
    )
    assert predicted.data_sha256 == data_sha256(samples)
    assert [row.sha256[0] for row in in_split("set", predicted, samples).rows] == ["1", "2"]
    with pytest.raises(DataError, match="lacks 1 of 1"):
        in_split("set", predicted, [dataclasses.replace(samples[0], box=None)])
