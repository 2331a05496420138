"""`leave-one-out`, `difficulty` and `transfer`: commands that train what they measure."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.evaluation.predictions import read_predictions

Run = Callable[..., CompletedProcess[str]]

SMALL = ("--set", "batch_size=8", "--set", "epochs=1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    levels = {"real/a": 90, "real/b": 95, "real/c": 100, "fake/g": 160, "fake/h": 170, "fake/i": 180}
    for name, level in levels.items():
        for index in range(10):
            path = tmp_path / "set" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(rng.integers(0, level, (40, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def test_one_command_trains_and_reports_every_fold(run: Run, data: Path, tmp_path: Path) -> None:
    stored = tmp_path / "folds.parquet"
    words = ("leave-one-out", "generator", "cifake_cnn", "--data", data, *SMALL, "-o", stored)
    done = run(*words, "--format", "json", "--rounds", "100")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["folds"]) == {"g", "h", "i"}
    assert set(found["mean"]["auroc"]) == {"value", "low", "high", "n"}
    assert found["mean"]["auroc"]["n"] == 3
    names = {row.detector for row in read_predictions(stored)}
    assert names == {f"cifake_cnn without {name}" for name in "ghi"}
    again = run(*words, "--rounds", "100")
    assert again.stderr.count("taken from") == 3
    assert "mean of 3 folds" in again.stdout
    benched = json.loads(run("bench", stored, "--format", "json", "--rounds", "100").stdout)["detectors"]
    assert benched["cifake_cnn without g"]["auroc"]["value"] == found["folds"]["g"]["auroc"]["value"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("leave-one-out", "generator", "cifake_cnn"), "--data"),
        (("bench", "predictions.csv", "--data", "somewhere"), "--data"),
        (
            ("leave-one-out", "generator", "cifake_cnn", "--data", "x", "-o", "y.csv", "--format", "latex"),
            "latex",
        ),
    ],
)
def test_half_of_a_leave_one_out_command_is_a_usage_error(run: Run, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == 3
    assert said in done.stderr


def test_difficulty_gives_a_curve_as_table_json_and_plot(run: Run, data: Path, tmp_path: Path) -> None:
    words = ("difficulty", "cifake_cnn", "--data", data, *SMALL, "--every", "2", "-o", tmp_path / "runs")
    done = run(*words, "--format", "json", "--plot", tmp_path / "curve.svg")
    assert done.returncode == 0, done.stderr
    curve = json.loads(done.stdout)["curve"]
    assert [point["step"] for point in curve] == [2, 4, 6]
    assert set(curve[0]["auroc"]) == {"value", "low", "high", "n"}
    assert (tmp_path / "curve.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "samples seen" in run(*words).stdout


def test_transfer_of_a_bundle_and_of_an_experiment(run: Run, data: Path, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    rng = np.random.default_rng(1)
    for index in range(12):
        path = other / ("test/real/x", "test/fake/y")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
    done = run("transfer", bundle, "--test", data, "--test", other, "--format", "json", "--rounds", "100")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["tests"]) == {str(data), str(other)}
    assert found["tests"][str(data)]["generators"]["g"]["auroc"]["n"] == 10
    assert "12 samples of its split test" in done.stderr
    stored = tmp_path / "p.csv"
    words = ("--train", data, *SMALL, "-o", tmp_path / "runs", "--predictions", stored, "--rounds", "100")
    trained = run("transfer", "cifake_cnn", "--test", other, *words)
    assert trained.returncode == 0, trained.stderr
    assert "generator y" in trained.stdout
    assert len(read_predictions(stored)) == 12
    leaking = run("transfer", "cifake_cnn", "--test", data, *words)
    assert leaking.returncode == 3
    assert "in training or validation too" in leaking.stderr
