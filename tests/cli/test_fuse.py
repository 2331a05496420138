"""`fuse`: predictions become a combination that runs, or a mixture is calibrated from its own."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import data_sha256, read_samples
from veridical.detectors import load_detector
from veridical.detectors.mixture import DetectorGate, MixtureRecipe
from veridical.detectors.recipes import Part
from veridical.media import Image
from veridical.models.bundle import read_bundle, write_bundle

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four sources of dark reals and four generators of bright fakes, with some overlap."""
    rng = np.random.default_rng(0)
    for index in range(64):
        label, centre = ("fake", 140) if index % 2 else ("real", 110)
        path = tmp_path / "set" / label / f"{label}{index // 2 % 4}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        value = int(np.clip(rng.normal(centre, 20), 0, 255))
        PIL.Image.new("RGB", (64, 64), (value, value, index)).save(path)
    return tmp_path / "set"


@pytest.fixture
def other_bundle(bundle: Path, tmp_path: Path) -> Path:
    """Another bundle of the same graph under another name."""
    read = read_bundle(bundle)
    card = dataclasses.replace(read.card, name="other")
    return write_bundle(tmp_path / "other", card, {"model.onnx": read.graph}).folder


def predicted(run: Run, data: Path, output: Path, *detectors: str | Path) -> Path:
    done = run("predict", *detectors, "--data", data, "-o", output)
    assert done.returncode == 0, done.stderr
    return output


def test_a_fused_folder_judges_pictures_and_says_what_it_was_made_of(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    one = predicted(run, data, tmp_path / "one.csv", bundle)
    other = predicted(run, data, tmp_path / "other.csv", "random")
    folder = tmp_path / "both"
    arguments = (one, other, "--member", bundle, "--name", "both", "--rounds", "100")
    shown = run("fuse", *arguments, "-o", folder)
    assert shown.returncode == 0, shown.stderr
    assert str(folder / "fusion.json") in shown.stdout

    recipe = json.loads((folder / "fusion.json").read_text())
    assert recipe["name"] == "both"
    assert recipe["members"][0]["detector"] == "./tiny"
    assert recipe["calibration"]["data_sha256"] == data_sha256(read_samples(data))
    for name in (f"fusion:{folder}/", f"fusion:{folder / 'fusion.json'}"):
        detector = load_detector(name)
        dark, bright = (np.full((64, 64, 3), value, np.uint8) for value in (60, 200))
        assert detector.calibrated
        assert detector.detect(Image.of(dark)).probability < 0.5 < detector.detect(Image.of(bright)).probability


def test_the_members_are_told_with_their_weights_and_their_own_auroc(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    stored = predicted(run, data, tmp_path / "p.csv", bundle, "constant")
    shown = run("fuse", stored, "--rounds", "100", "--format", "json")
    told = json.loads(shown.stdout)
    members = {member["detector"]: member for member in told["members"]}
    assert set(members) == {"tiny", "constant"}
    assert members["constant"]["auroc"] == 0.5
    assert told["auroc"]["value"] >= members["tiny"]["auroc"] > 0.7
    assert told["path"] is None
    assert "left out" in run("fuse", stored, "--rounds", "100").stdout


def test_a_member_that_is_not_here_stops_it_before_anything_is_written(
    run: Run, data: Path, bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    stored = predicted(run, data, tmp_path / "p.csv", bundle)
    done = run("fuse", stored, "--member", other_bundle, "-o", tmp_path / "out", "--rounds", "100")
    assert done.returncode == 4
    assert "'tiny'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_mixture_is_calibrated_in_its_file_and_then_gives_verdicts(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    sha256 = read_bundle(bundle).sha256
    part = Part(detector=str(bundle), sha256=sha256)
    recipe = MixtureRecipe(
        name="mix", version="1", description="d", general=part, gates=(DetectorGate(expert=part, gate=part),)
    )
    path = tmp_path / "mixture.json"
    path.write_bytes(recipe.to_json())
    stored = predicted(run, data, tmp_path / "p.csv", f"mixture:{tmp_path}/")
    assert not load_detector(f"mixture:{path}").calibrated

    done = run("fuse", stored, "--mixture", path, "--rounds", "100")
    assert done.returncode == 0, done.stderr
    detector = load_detector(f"mixture:{path}")
    assert detector.calibrated
    assert detector.detect(Image.of(np.full((64, 64, 3), 200, np.uint8))).probability > 0.5

    again = run("fuse", stored, "--mixture", path, "--rounds", "100")
    assert again.returncode != 0
    assert "are not those of" in again.stderr


def test_perturbed_predictions_of_a_picture_are_samples_of_their_own(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    stored = predicted(run, data, tmp_path / "p.csv", bundle, "random")
    lines = stored.read_text().splitlines()
    column = lines[0].split(",").index("perturbation")
    cells = [line.split(",") for line in lines[1:]]
    jpeg = [",".join([*row[:column], "jpeg:50", *row[column + 1 :]]) for row in cells]
    stored.write_text("\n".join([*lines, *jpeg]) + "\n")
    told = json.loads(run("fuse", stored, "--rounds", "100", "--format", "json").stdout)
    assert told["auroc"]["n"] == 128


def test_a_file_that_holds_no_predictions_is_told_plainly(run: Run, tmp_path: Path) -> None:
    done = run("fuse", tmp_path / "nothing.csv")
    assert done.returncode == 3
    assert "cannot be read" in done.stderr
