"""`robustness` from the command line, on predictions that `predict` stored."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.evaluation.robustness import CELLS

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def stored(run: Run, bundle: Path, tmp_path: Path) -> Path:
    """Dark reals and bright fakes, judged by a detector of brightness as they are and after some changes."""
    for index, grey in enumerate((20, 60, 110, 150, 200, 230)):
        path = tmp_path / "set" / ("real/camera" if index < 3 else "fake/sdxl") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(-10, 10, (80, 90, 3))
        PIL.Image.fromarray((grey + noise).astype(np.uint8)).save(path)
    predictions = tmp_path / "p.parquet"
    done = run(
        *("predict", bundle, "random", "--data", tmp_path / "set", "-o", predictions),
        *("--perturbation", "jpeg_75", "--perturbation", "colour_0.2"),
    )
    assert done.returncode == 0, done.stderr
    assert "36 predictions" in done.stderr
    return predictions


def test_every_cell_has_an_interval_and_its_n(run: Run, stored: Path) -> None:
    shown = run("robustness", stored, "--format", "json", "--rounds", "100")
    detectors = json.loads(shown.stdout)["detectors"]
    assert set(detectors) == {"tiny", "random"}
    assert list(detectors["tiny"]) == ["none", "jpeg_75", "colour_0.2"]
    found = detectors["tiny"]["jpeg_75"]
    assert (found["operation"], found["severity"]) == ("jpeg", "quality 75")
    for cells in (found, found["generators"]["sdxl"]):
        for name in CELLS:
            assert set(cells[name]) == {"value", "low", "high", "n"}
    assert found["auroc"]["value"] == 1.0
    assert found["auroc_change"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 6}
    assert found["generators"]["sdxl"]["auroc"]["n"] == 3
    assert found["verdict_flips"]["value"] == 0.0
    # Brightness 20 % up or down: what the detector looks at.
    assert detectors["tiny"]["colour_0.2"]["verdicts_lost"]["value"] > 0
    assert detectors["random"]["jpeg_75"]["verdict_flips"]["n"] == 6


def test_the_tables_name_perturbation_severity_and_generator(run: Run, stored: Path) -> None:
    table = run("robustness", stored, "--rounds", "100")
    assert table.returncode == 0
    assert "tiny: ranking" in table.stdout
    assert "20 % up or down" in table.stdout
    markdown = run("robustness", stored, "--rounds", "100", "--format", "md").stdout
    assert "| jpeg\\_75 | sdxl | 3 |" in markdown
    assert markdown.count("## ") == 6


def test_clean_predictions_are_answered_with_the_command_that_perturbs(
    run: Run, stored: Path, tmp_path: Path
) -> None:
    clean = tmp_path / "clean.csv"
    run("predict", "random", "--data", tmp_path / "set", "-o", clean)
    done = run("robustness", clean)
    assert done.returncode == 3
    assert "no perturbed samples" in done.stderr
    assert "--perturbation all" in done.stderr
