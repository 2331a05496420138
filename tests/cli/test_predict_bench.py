"""`predict` and `bench` from the command line, and what they say without their extra."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(8):
        name = "test/real/camera" if index % 2 else "test/fake/sdxl"
        path = tmp_path / "set" / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return tmp_path / "set"


def test_a_table_comes_from_stored_predictions_of_several_detectors(
    run: Run, data: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "p.csv"
    done = run("predict", "random", "constant", "--data", data, "--split", "test", "-o", stored)
    assert done.returncode == 0
    assert "16 predictions" in done.stderr
    shown = run("bench", stored, "--format", "json", "--rounds", "100")
    detectors = json.loads(shown.stdout)["detectors"]
    assert set(detectors) == {"random", "constant"}
    assert detectors["constant"]["auroc"]["value"] == 0.5
    assert set(detectors["random"]["auroc"]) == {"value", "low", "high", "n"}
    assert detectors["random"]["generators"]["sdxl"]["auroc"]["n"] == 4
    assert "AUROC by source" in run("bench", stored, "--rounds", "100").stdout


def test_a_missing_set_or_split_is_a_usage_error(run: Run, data: Path, tmp_path: Path) -> None:
    for arguments in (["--data", data / "nowhere"], ["--data", data, "--split", "val"]):
        done = run("predict", "random", *arguments, "-o", tmp_path / "p.csv")
        assert done.returncode == 3
        assert "error:" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_unknown_experiment_is_a_model_error_with_the_nearest_name(
    run: Run, data: Path, tmp_path: Path
) -> None:
    done = run("train", "npr_shard", "--data", data, "-o", tmp_path / "run")
    assert done.returncode == 4
    assert "npr_shared" in done.stderr
