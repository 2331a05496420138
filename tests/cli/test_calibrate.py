"""`veridical calibrate`: a bundle or stored predictions, fitted on one split and measured on another."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.models.bundle import read_bundle, write_bundle
from veridical.models.card import Reproduction

Run = Callable[..., CompletedProcess[str]]

FAST = ("--rounds", "100")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Splits val and test; fakes are somewhat brighter, publishers differ a little."""
    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        for index in range(60):
            name = (f"real/{split}-{index % 6}", f"fake/{split}-{index % 6}")[index % 2]
            path = tmp_path / "set" / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            level = int(np.clip(rng.normal(110 + 40 * (index % 2), 25), 1, 255))
            PIL.Image.fromarray(rng.integers(level - 1, level + 1, (64, 64, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def test_a_bundle_gets_a_new_card_fitted_and_measured_on_different_splits(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    words = ("--data", data, "--method", "isotonic", *FAST)
    done = run("calibrate", bundle, *words, "-o", tmp_path / "new", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["method"] == "isotonic"
    assert set(found["comparison"]) == {"none", "temperature", "platt", "isotonic"}
    assert set(found["after"]["ece"]) == {"value", "low", "high", "n"}
    card = read_bundle(tmp_path / "new").card
    assert card.calibration is not None
    assert card.calibration.data_sha256 == found["fit"]["data_sha256"]
    assert card.measured[0].data_sha256 == found["report"]["data_sha256"] != found["fit"]["data_sha256"]
    assert card.measured[0].command.startswith("veridical calibrate ")
    assert card.name == read_bundle(bundle).card.name
    assert card.reproduction is None  # of a bundle that does not say how it was made

    picture = next((data / "test").rglob("*.png"))
    judged = run("detect", picture, "--detector", tmp_path / "new", "--format", "json")
    assert '"calibrated": true' in json.dumps(json.loads(judged.stdout))


def test_a_bundle_that_says_how_it_was_made_gets_its_last_calibration_as_the_last_command(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    whole = read_bundle(bundle)
    made = Reproduction(("veridical train tiny", "veridical export x"), 0, "0" * 64)
    card = dataclasses.replace(whole.card, reproduction=made)
    write_bundle(tmp_path / "made", card, {"model.onnx": whole.graph})
    for method in ("platt", "temperature"):
        words = ("--data", data, "--method", method, *FAST)
        assert run("calibrate", tmp_path / "made", *words, "-o", tmp_path / "made").returncode == 0
    after = read_bundle(tmp_path / "made").card.reproduction
    assert after is not None
    assert after.commands == (
        *made.commands,
        f"veridical calibrate bundles/tiny --data {data} --method temperature --fpr 0.05 "
        "--fakes-called-real 0.1 -o bundles/tiny",
    )


def test_stored_predictions_give_the_same_numbers_as_their_bundle(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    stored = [tmp_path / f"{split}.csv" for split in ("val", "test")]
    for path in stored:
        run("predict", bundle, "--data", data, "--split", path.stem, "-o", path)
    every = tmp_path / "every.csv"
    run("predict", bundle, "--data", data, "-o", every)
    words = ("--method", "platt", "--format", "json", *FAST)
    answers = [
        run("calibrate", bundle, "--data", data, *words),
        run("calibrate", bundle, "--fit", stored[0], "--report", stored[1], *words),
        run("calibrate", stored[0], "--report", stored[1], *words),
        run("calibrate", every, "--data", data, *words),
    ]
    found = [json.loads(answer.stdout) for answer in answers]
    for one in found[1:]:
        for part in ("thresholds", "after", "metrics", "sources", "coverage", "conformal", "bundle"):
            assert one[part] == found[0][part], part
        assert one["fit"]["data_sha256"] == found[0]["fit"]["data_sha256"]


def test_the_table_says_which_method_thresholds_and_promises(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    done = run("calibrate", bundle, "--data", data, "--fpr", "0.2", *FAST)
    assert done.returncode == 0, done.stderr
    for words in ("(chosen)", "thresholds: ai", "risk_at_coverage_80", "covered_fake", "not measured: too few"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "not said"),
        (("--fit", "val.csv", "--report", "val.csv"), "in val.csv and in val.csv"),
        (("--fit", "val.csv", "--report", "other.csv"), "holds predictions"),
    ],
)
def test_what_cannot_be_calibrated_is_a_usage_error(
    run: Run,
    data: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run("predict", bundle, "--data", data, "--split", "val", "-o", "val.csv")
    run("predict", "random", "--data", data, "--split", "test", "-o", "other.csv")
    done = run("calibrate", bundle, *words)
    assert done.returncode == 3
    assert expected in done.stderr


def test_predictions_alone_cannot_be_written_as_a_bundle(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    every = tmp_path / "every.csv"
    run("predict", bundle, "--data", data, "-o", every)
    done = run("calibrate", every, "--data", data, "-o", tmp_path / "new", *FAST)
    assert done.returncode == 3
    assert "no bundle" in done.stderr
