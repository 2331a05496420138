"""`veridical bench` from the command line: formats, perturbations, comparisons, and anyone's scores."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from veridical.evaluation.predictions import Prediction, write_predictions

Run = Callable[..., CompletedProcess[str]]


def judged(detector: str, *, apart: float, perturbation: str = "none") -> list[Prediction]:
    """40 reals of two sources and 40 fakes of two generators, whose scores are `apart` by so much."""
    rng = np.random.default_rng(len(detector))
    rows = []
    for place in range(80):
        fake = place % 2 == 1
        kind = f"{'generator' if fake else 'source'}{place // 2 % 2}"
        score = float(np.clip(rng.normal(0.5 + apart * (fake - 0.5), 0.2), 0, 1))
        rows.append(
            Prediction(
                detector=detector,
                bundle=detector,
                path=f"{place}.png",
                sha256=f"{place:064x}",
                box="",
                label="fake" if fake else "real",
                generator=kind if fake else "",
                source="made" if fake else kind,
                group=f"publisher{place // 4}",
                score=score,
                logit=score,
                threshold_ai=0.8,
                threshold_real=0.2,
                code="0",
                perturbation=perturbation,
                content="face" if place < 40 else "place",
            )
        )
    return rows


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "p.parquet"
    write_predictions(path, [*judged("good", apart=0.6), *judged("weak", apart=0.1)])
    return path


def told(done: CompletedProcess[str]) -> dict[str, Any]:  # Any: JSON
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


def test_json_has_every_metric_of_every_detector_with_its_interval_and_n(run: Run, stored: Path) -> None:
    found = told(run("bench", stored, "--format", "json", "--rounds", "100"))
    assert list(found["detectors"]) == ["good", "weak"]
    good = found["detectors"]["good"]
    names = (
        "auroc ap eer tpr_at_fpr_1 tpr_at_fpr_5 accuracy accuracy_at_threshold balanced_accuracy f1 mcc brier "
        "ece sn34 real_accuracy fake_accuracy fpr tpr reals_called_real fakes_called_real unsure"
    )
    for name in names.split():
        assert set(good[name]) == {"value", "low", "high", "n"}
        assert good[name]["low"] <= good[name]["value"] <= good[name]["high"]
    assert sum(good["confusion"].values()) == good["auroc"]["n"] == 80
    assert set(good["generators"]) == {"generator0", "generator1"}
    assert good["generators"]["generator0"]["auroc"]["n"] == 20
    assert set(good["sources"]) == {"source0", "source1"}
    assert set(good["contents"]) == {"face", "place"}
    assert found["intervals"] == {"rounds": 100, "seed": 0, "drawn": "samples"}


@pytest.mark.parametrize("format", ["table", "json", "md", "csv", "latex"])
def test_the_same_predictions_give_the_same_bytes(run: Run, stored: Path, format: str) -> None:
    arguments = ("bench", stored, "--format", format, "--rounds", "100", "--compare", "good", "weak")
    first, again = run(*arguments), run(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert "generator1" in first.stdout


def test_the_table_fits_a_terminal_and_says_how_intervals_were_made(run: Run, stored: Path) -> None:
    by_sample = run("bench", stored, "--rounds", "100").stdout
    assert max(map(len, by_sample.splitlines())) <= 100
    assert "reals and fakes apart" in by_sample
    assert "whole groups (publishers)" in run("bench", stored, "--rounds", "100", "--by-group").stdout


def test_csv_has_a_number_on_each_row(run: Run, stored: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("bench", stored, "--format", "csv", "--rounds", "100").stdout)))
    cells = {(r["detector"], r["table"], r["row"], r["metric"]): r for r in rows}
    assert len(cells) == len(rows)
    exact = told(run("bench", stored, "--format", "json", "--rounds", "100"))["detectors"]["weak"]["auroc"]
    of_all = cells["weak", "all", "all", "auroc"]
    assert {name: float(of_all[name]) for name in exact} == exact
    assert cells["good", "generators", "generator0", "tpr"]["n"] == "20"


def test_other_perturbations_are_left_out_and_said_so(run: Run, tmp_path: Path) -> None:
    plain, worse = judged("a", apart=0.6), judged("a", apart=0.0, perturbation="jpeg50")
    path = tmp_path / "p.csv"
    write_predictions(path, [*plain, *worse])
    done = run("bench", path, "--format", "json", "--rounds", "100")
    assert "80 rows with perturbation 'jpeg50'" in done.stderr
    auroc = told(done)["detectors"]["a"]["auroc"]
    asked = told(run("bench", path, "--format", "json", "--rounds", "100", "--perturbation", "jpeg50"))
    assert auroc["n"] == asked["detectors"]["a"]["auroc"]["n"] == 80
    assert auroc["value"] > asked["detectors"]["a"]["auroc"]["value"]
    unknown = run("bench", path, "--perturbation", "jpg50")
    assert unknown.returncode != 0
    assert "jpeg50" in unknown.stderr


def test_two_detectors_are_compared_on_the_same_samples(run: Run, stored: Path) -> None:
    arguments = ("bench", stored, "--rounds", "100", "--compare", "good", "weak")
    comparison = told(run(*arguments, "--format", "json"))["comparison"]
    assert comparison["n"] == 80
    assert comparison["differences"]["auroc"]["low"] > 0
    assert comparison["verdicts_at_half"]["p_value"] < 0.05
    assert "good less weak" in run(*arguments).stdout
    unknown = run("bench", stored, "--compare", "good", "week")
    assert unknown.returncode == 3
    assert "Did you mean 'weak'" in unknown.stderr


def test_anyones_scores_stand_in_the_same_table(run: Run, stored: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "peer.csv"
    lines = [f"{r.sha256},{r.label},{r.score}" for r in judged("peer", apart=0.3)]
    theirs.write_text("\n".join(["sha256,label,score", *lines, "ff,real,"]))
    arguments = ("--predictions", theirs, "--format", "json", "--rounds", "100")
    done = run("bench", stored, *arguments, "--compare", "good", "peer")
    found = told(done)
    assert list(found["detectors"]) == ["good", "weak", "peer"]
    assert found["detectors"]["peer"]["auroc"]["n"] == 80
    assert found["comparison"]["n"] == 80
    assert "peer: 1 reals and 0 fakes have no score, and are left out" in done.stderr
    assert found["missing"] == {"peer": {"real": 1, "fake": 0}}
    told_to = told(run("bench", *arguments, "--missing", "abstain"))
    assert told_to["detectors"]["peer"]["auroc"]["n"] == 81


def test_columns_of_scores_are_detectors(run: Run, tmp_path: Path) -> None:
    theirs = tmp_path / "wide.csv"
    theirs.write_text("label,prob_a,prob_b,c\n1,0.9,0.2,0.5\n0,0.1,0.7,0.4\n")
    by_name = run("bench", "--predictions", theirs, "--format", "json", "--rounds", "100")
    assert set(told(by_name)["detectors"]) == {"a", "b"}
    chosen = run("bench", "--predictions", theirs, "--score-columns", "prob_a, c", "--format", "json")
    assert set(told(chosen)["detectors"]) == {"a", "c"}
    theirs.write_text("label,score\n1,0.9\n0,1.7\n")
    bad = run("bench", "--predictions", theirs)
    assert bad.returncode != 0
    assert "line 3" in bad.stderr


def test_a_set_of_reals_alone_can_be_shown_in_every_format(run: Run, tmp_path: Path) -> None:
    reals = [
        dataclasses.replace(r, threshold_ai=math.nan, threshold_real=math.nan)
        for r in judged("a", apart=0.6)
        if r.label == "real"
    ]
    path = tmp_path / "p.csv"
    write_predictions(path, reals)
    found = told(run("bench", path, "--format", "json", "--rounds", "100"))["detectors"]["a"]
    assert found["auroc"] == {"value": None, "low": None, "high": None, "n": 0}
    assert found["real_accuracy"]["n"] == 40
    for format in ("table", "md", "csv", "latex"):
        done = run("bench", path, "--format", format, "--rounds", "100")
        assert done.returncode == 0, done.stderr
        assert "nan" not in done.stdout


def test_without_a_file_there_is_nothing_to_measure(run: Run) -> None:
    assert run("bench").returncode == 3
    assert run("bench", "--score-columns", "a").returncode == 3
