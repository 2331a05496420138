"""`veridical sweep` on stored predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from veridical.evaluation.predictions import Prediction, write_predictions

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        Prediction(
            detector=detector,
            bundle=detector,
            path=f"{i}.png",
            sha256="",
            box="",
            label=("real", "fake")[i % 2],
            generator=("", "sdxl")[i % 2],
            source="set",
            group="",
            score=float(np.clip(rng.normal(0.35 + 0.3 * (i % 2), 0.2), 0, 1)),
            logit=0.0,
            threshold_ai=np.nan,
            threshold_real=np.nan,
            code="0",
        )
        for detector in ("one", "two")
        for i in range(80)
    ]
    write_predictions(tmp_path / "p.csv", rows)
    return tmp_path / "p.csv"


def test_json_has_every_threshold_with_intervals_and_the_best_with_a_warning(run: Run, stored: Path) -> None:
    done = run("sweep", stored, "--format", "json", "--rounds", "100")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["detectors"]
    assert set(found) == {"one", "two"}
    steps = found["one"]["thresholds"]
    assert [step["threshold"] for step in steps] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert set(steps[0]["macro_f1"]) == {"value", "low", "high", "n"}
    best = found["one"]["best"]["accuracy"]
    values = {step["threshold"]: step["accuracy"]["value"] for step in steps}
    assert values[best] == max(values.values())
    assert "elsewhere they are worse" in found["one"]["warning"]
    assert "elsewhere they are worse" in done.stderr


def test_tables_name_every_metric_and_markdown_is_one(run: Run, stored: Path) -> None:
    shown = run("sweep", stored, "--rounds", "100").stdout
    assert "one: value and 95 % interval, n=80" in shown
    assert "balanced_accuracy" in shown
    written = run("sweep", stored, "--detector", "two", "--format", "md", "--rounds", "100").stdout
    assert written.count("\n|---|") == 1
    assert "| best at |" in written


def test_a_plot_is_of_one_detector(run: Run, stored: Path, tmp_path: Path) -> None:
    plot = tmp_path / "sweep.svg"
    done = run("sweep", stored, "--plot", plot, "--rounds", "100")
    assert done.returncode == 3
    assert "--detector takes one, two" in done.stderr
    assert run("sweep", stored, "--plot", plot, "--detector", "two", "--rounds", "100").returncode == 0
    assert plot.read_text(encoding="utf-8").startswith("<?xml")
