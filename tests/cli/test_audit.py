"""`veridical audit`, `veridical data align`, and the gate before `veridical train`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.training import checkpoint

Run = Callable[..., CompletedProcess[str]]

EXPERIMENT = """
from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="tiny", architecture="npr", description="d", paper=Paper("a", "t", "v", "u"), licence="MIT",
    input=PixelInput(kind="crops", size=32), augmentation=Augmentation(crop=32),
    fit=Loop(epochs=1, batch_size=16, lr=1e-3),
)
"""


def make_set(root: Path, *, n: int = 40, dark_fakes: bool = False) -> Path:
    """`n` of either class, by two publishers each: JPEG reals, PNG fakes; half of all in train, half in val."""
    for index in range(2 * n):
        fake = index % 2 == 1
        split = "train" if index < n else "val"
        low = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        pixels = low // 3 if fake and dark_fakes else low
        path = (
            root
            / split
            / ("real/s", "fake/g", "real/t", "fake/h")[index % 4]
            / f"{index}.{'png' if fake else 'jpg'}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).resize((64, 64), PIL.Image.Resampling.BICUBIC).save(path)
    return root


@pytest.fixture(scope="module")
def shortcut_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files tell the label by format, its pixels by brightness."""
    return make_set(tmp_path_factory.mktemp("set"), dark_fakes=True)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(EXPERIMENT)
    return path


def test_a_failing_set_ends_with_2_and_names_what_fails(run: Run, shortcut_set: Path) -> None:
    done = run("audit", shortcut_set, "--format", "json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert not found["passed"]
    assert found["shortcuts"]["format"]["failed"]
    assert set(found["shortcuts"]["format"]["balanced_accuracy"]) == {"value", "low", "high", "n"}
    assert set(found) >= {"duplicates", "groups_in_two_splits", "unreadable", "counts"}
    assert found["counts"]["splits"] == {name: {"real": 20, "fake": 20} for name in ("train", "val")}
    table = run("audit", shortcut_set)
    assert table.returncode == 2
    assert "failed: format" in table.stdout


def test_a_set_without_shortcuts_ends_with_0(run: Run, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", n=8)
    done = run("audit", folder, "--split", "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("passed\n")
    assert "not measured" in done.stdout


def test_a_leak_is_told_by_name(run: Run, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", n=8)
    leak = folder / "train/fake/g/leak.jpg"
    with PIL.Image.open(folder / "val/fake/g/9.png") as picture:
        picture.save(leak, quality=85)
    done = run("audit", folder)
    assert done.returncode == 2
    assert "failed: duplicates" in done.stdout
    assert {"train fake " + str(leak), "val fake " + str(folder / "val/fake/g/9.png")} <= {
        line.strip() for line in done.stdout.splitlines()
    }


def test_what_cannot_be_read_is_named_and_fails(run: Run, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", n=8)
    (folder / "val/real/s/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("audit", folder)
    assert done.returncode == 2
    assert "Samples that cannot be read: 1 real" in done.stdout
    assert "val/real/s/0.png" in done.stdout


def test_a_missing_set_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    done = run("audit", tmp_path / "absent.csv")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error:" in done.stderr


def test_as_trained_asks_only_what_reaches_the_network(run: Run, shortcut_set: Path, experiment: Path) -> None:
    done = run("audit", shortcut_set, "--as-trained", experiment, "--format", "json")
    found = json.loads(done.stdout)
    assert set(found["shortcuts"]) == {"size", "colour"}
    assert (done.returncode, found["failures"]) == (2, ["colour"])


def test_an_aligned_copy_no_longer_tells_by_its_files(run: Run, shortcut_set: Path, tmp_path: Path) -> None:
    done = run("data", "align", shortcut_set, tmp_path / "aligned", "--crop", "48", "--seed", "3")
    assert done.returncode == 0
    assert "80 samples written" in done.stderr
    found = json.loads(run("audit", done.stdout.strip(), "--format", "json").stdout)
    failed = {name for name, one in found["shortcuts"].items() if one["failed"]}
    assert not failed & {"size", "aspect", "format", "metadata"}


def test_align_names_what_is_too_small_and_ends_with_2(run: Run, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", n=8)
    done = run("data", "align", folder, tmp_path / "aligned", "--crop", "65")
    assert done.returncode == 2
    assert "0 samples written; too small: 8 real, 8 fake" in done.stderr
    assert run("data", "align", folder, tmp_path / "aligned").returncode == 3


# An experiment that re-encodes sees nothing of a file's format; this one does.
NOT_ALIGNED = ("--set", "augmentation.reencoded=false")


def test_colours_are_said_and_recorded_but_do_not_stop_a_training(
    run: Run, shortcut_set: Path, experiment: Path, tmp_path: Path
) -> None:
    done = run("train", experiment, "--data", shortcut_set, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "audit: colour" in done.stderr
    _, facts = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert facts["accepted_shortcuts"] == ["colour"]


def test_training_on_a_failing_set_is_refused_and_nothing_is_written(
    run: Run, shortcut_set: Path, experiment: Path, tmp_path: Path
) -> None:
    done = run("train", experiment, "--data", shortcut_set, "-o", tmp_path / "run", *NOT_ALIGNED)
    assert (done.returncode, done.stdout) == (3, "")
    assert "fails its audit: format" in done.stderr
    assert "--accept-shortcuts" in done.stderr
    assert not (tmp_path / "run").exists()


def test_accepted_shortcuts_are_on_the_checkpoint_and_the_card_and_are_not_asked_again(
    run: Run, shortcut_set: Path, experiment: Path, tmp_path: Path
) -> None:
    arguments = ["train", experiment, "--data", shortcut_set, "-o", tmp_path / "run", *NOT_ALIGNED]
    done = run(*arguments, "--accept-shortcuts")
    assert done.returncode == 0, done.stderr
    _, facts = checkpoint.load(tmp_path / "run" / "best.safetensors")
    accepted = facts["accepted_shortcuts"]
    assert isinstance(accepted, list)
    assert {"format", "colour"} <= set(accepted)
    again = run(*arguments)
    assert again.returncode == 0
    assert "audit" not in again.stderr
    data = tmp_path / "data"
    shutil.copytree(shortcut_set, data)
    shutil.copytree(data / "val", data / "test")
    exported = run(
        "export", done.stdout.strip(), "-o", tmp_path / "bundle", "--experiment", experiment, "--data", data
    )
    assert exported.returncode == 0, exported.stderr
    card = json.loads((tmp_path / "bundle" / "card.json").read_text())
    assert card["training"]["accepted_shortcuts"] == accepted
    assert "format" in card["limits"][-1]


def test_other_data_in_the_same_folder_are_audited(
    run: Run, shortcut_set: Path, experiment: Path, tmp_path: Path
) -> None:
    few = make_set(tmp_path / "few", n=32)
    assert run("train", experiment, "--data", few, "-o", tmp_path / "run", *NOT_ALIGNED).returncode == 0
    done = run("train", experiment, "--data", shortcut_set, "-o", tmp_path / "run", *NOT_ALIGNED)
    assert (done.returncode, "fails its audit" in done.stderr) == (3, True)


def test_a_leak_between_training_and_validation_is_refused(run: Run, experiment: Path, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", n=32)
    shutil.copy(folder / "train/fake/g/1.png", folder / "val/fake/g/copy.png")
    done = run("train", experiment, "--data", folder, "-o", tmp_path / "run")
    assert done.returncode == 3
    assert "fails its audit: duplicates" in done.stderr
    assert str(folder / "val/fake/g/copy.png") in done.stderr
