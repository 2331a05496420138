"""One rule for all ways of training: what `veridical audit` fails is refused, and what is kept back always."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.cli import main
from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError, UsageError
from veridical.evaluation import audit
from veridical.training import checkpoint, gate
from veridical.training.difficulty import learning_curve
from veridical.training.experiment import Experiment
from veridical.training.gate import pass_audit
from veridical.training.leave_one_out import folds, leave_one_out
from veridical.training.loop import Run
from veridical.training.run import open_run, run_experiment, train_on
from veridical.training.transfer import train_and_judge

# What is not encoded again keeps the traces of its format.
SETTINGS = ("epochs=1", "batch_size=16", "augmentation.reencoded=false")


def write(root: Path, *, seed: int, count: int, fakes_as: str = "png") -> Path:
    """Noise of one brightness, by three publishers of either class: JPEG reals, and fakes of another format."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        name = ("real/a", "fake/g", "real/b", "fake/h", "real/c", "fake/i")[index % 6]
        path = root / name / f"{index}.{fakes_as if 'fake' in name else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        low = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        PIL.Image.fromarray(low).resize((64, 64), PIL.Image.Resampling.BICUBIC).save(path)
    return root


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of the literature: JPEG reals, PNG fakes."""
    return write(tmp_path_factory.mktemp("biased"), seed=0, count=96)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is judged after a training."""
    return write(tmp_path_factory.mktemp("others"), seed=1, count=12)


# Each way of training from the command line, without its options.
DOORS = {
    "train": ("train", "cifake_cnn", "--data", "SET", "-o", "OUT/run"),
    "transfer": ("transfer", "cifake_cnn", "--train", "SET", "--test", "OTHERS", "-o", "OUT/run"),
    "difficulty": ("difficulty", "cifake_cnn", "--data", "SET", "-o", "OUT/run"),
    "leave-one-out": ("leave-one-out", "generator", "cifake_cnn", "--data", "SET", "-o", "OUT/folds.csv"),
}


def through(door: str, data: Path, others: Path, out: Path, *options: str) -> int:
    places = {"SET": str(data), "OTHERS": str(others)}
    words = [places.get(word, word.replace("OUT", str(out))) for word in DOORS[door]]
    changes = [word for change in SETTINGS for word in ("--set", change)]
    return main([*words, *changes, *options])


@pytest.mark.parametrize("door", DOORS)
def test_no_command_trains_on_what_fails_its_audit_unless_it_is_accepted(
    door: str, biased: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert through(door, biased, others, tmp_path) == 3
    said = capsys.readouterr().err
    assert "fails its audit: format" in said
    assert "--accept-shortcuts" in said
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("log.jsonl"))
    assert through(door, biased, others, tmp_path, "--accept-shortcuts") == 0, capsys.readouterr().err
    (record,) = tmp_path.rglob(gate.RECORD)  # one audit, also of many folds
    assert "format" in json.loads(record.read_text())["failures"]
    for best in tmp_path.rglob("best.safetensors"):
        assert checkpoint.load(best)[1]["accepted_shortcuts"] == json.loads(record.read_text())["failures"]


def opened(data: Path, folder: Path, *, accept: bool = False) -> tuple[Experiment, Run]:
    return open_run(
        "cifake_cnn",
        data=str(data),
        changes=SETTINGS,
        folder=folder,
        accept_shortcuts=accept,
        say=lambda line: None,
    )


def on_samples(experiment: Experiment, run: Run, others: Path) -> object:
    samples = read_samples(experiment.data)
    return train_on(experiment, samples[::2], samples[1::2], run)


def by_folds(experiment: Experiment, run: Run, others: Path) -> object:
    return list(leave_one_out(experiment, folds(read_samples(experiment.data), "generator"), run))


CALLS: dict[str, Callable[[Experiment, Run, Path], object]] = {
    "run_experiment": lambda experiment, run, others: run_experiment(experiment, run),
    "train_on": on_samples,
    "train_and_judge": lambda experiment, run, others: train_and_judge(
        experiment, {"others": read_samples(others)}, run
    ),
    "learning_curve": lambda experiment, run, others: learning_curve(experiment, run, every=5),
    "leave_one_out": by_folds,
}


@pytest.mark.parametrize("name", CALLS)
def test_no_call_trains_on_what_fails_its_audit(name: str, biased: Path, others: Path, tmp_path: Path) -> None:
    experiment, run = opened(biased, tmp_path)
    with pytest.raises(DataError, match="fails its audit: format") as caught:
        CALLS[name](experiment, run, others)
    assert caught.value.code == "shortcuts"
    assert not list(tmp_path.iterdir())


def test_a_set_is_audited_once_for_all_its_folds(
    biased: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(samples: list[Sample], *arguments: object, **options: object) -> audit.Audit:
        asked.append(len(samples))
        return audit.audit_views(samples, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "audit_views", counted)
    experiment, run = opened(biased, tmp_path, accept=True)
    by_folds(experiment, run, biased)
    assert asked == [96]


def test_what_passed_does_for_its_own_samples_and_view_alone(biased: Path, tmp_path: Path) -> None:
    experiment, run = opened(biased, tmp_path, accept=True)
    samples = read_samples(biased)
    passed = pass_audit(experiment, samples[:-1], run)
    with pytest.raises(DataError, match="1 samples were not audited") as caught:
        train_on(experiment, samples[::2], samples[1::2], run, passed=passed)
    assert caught.value.code == "not_audited"
    with pytest.raises(DataError, match="were not audited"):
        passed.require(samples[:-1], dataclasses.replace(experiment, seed=1))


def keep_back(picture: Path, place: Path) -> None:
    place.write_text(f"{hashlib.sha256(picture.read_bytes()).hexdigest()}  a remark\n{'0' * 64}\n")


@pytest.fixture
def even(tmp_path: Path) -> Path:
    """A set that passes its audit."""
    return write(tmp_path / "sets" / "even", seed=2, count=96, fakes_as="jpg")


@pytest.mark.parametrize("door", DOORS)
def test_what_is_kept_back_is_refused_whatever_is_accepted(
    door: str, even: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_back(even / "real/b/2.jpg", even.parent / "kept-back.sha256")
    assert through(door, even, others, tmp_path / "out", "--accept-shortcuts") == 3
    assert "1 samples are kept back" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_list_that_lies_elsewhere_is_named_by_a_variable(
    even: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_back(even / "fake/h/3.jpg", tmp_path / "list")
    experiment, run = opened(even, tmp_path / "run")
    monkeypatch.setenv("VERIDICAL_KEPT_BACK", str(tmp_path / "list"))
    with pytest.raises(DataError, match=r"trained on: h \(1\)\.") as caught:
        run_experiment(experiment, run)
    assert caught.value.code == "kept_back"
    monkeypatch.setenv("VERIDICAL_KEPT_BACK", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="cannot be read"):
        run_experiment(experiment, run)


def test_a_manifest_is_asked_for_the_list_beside_it_though_its_pictures_lie_elsewhere(
    even: Path, tmp_path: Path
) -> None:
    place = tmp_path / "manifests"
    place.mkdir()
    rows = [
        f"{s.path},{s.label.name.lower()},{s.generator},{s.group},{hashlib.sha256(s.path.read_bytes()).hexdigest()}"
        for s in read_samples(even)
    ]
    (place / "set.csv").write_text("\n".join(["path,label,generator,group,sha256", *rows]) + "\n")
    experiment, run = opened(place / "set.csv", tmp_path / "run")
    pass_audit(experiment, read_samples(place / "set.csv"), run)
    keep_back(even / "real/a/0.jpg", place / "kept-back.sha256")
    with pytest.raises(DataError, match=r"trained on: a \(1\)"):
        pass_audit(experiment, read_samples(place / "set.csv"), run)


def test_the_shared_set_holds_nothing_that_is_kept_back(shared: Path, tmp_path: Path) -> None:
    from veridical.data.kept_back import require_not_kept_back

    manifest = shared / "data" / "images.csv"
    samples = read_samples(manifest)
    require_not_kept_back(samples, [manifest])
    hashes = (manifest.parent / "kept-back.sha256").read_text().split()
    stolen = dataclasses.replace(samples[0], sha256=hashes[-1], group="someone")
    with pytest.raises(DataError, match=r"someone \(1\)"):
        require_not_kept_back([*samples, stolen])
