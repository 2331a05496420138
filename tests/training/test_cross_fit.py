"""Cross-fitting: every picture is judged by a head that has not seen its publisher, and one head sees all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.data.samples import Sample, data_sha256, read_samples
from veridical.errors import ModelError, UsageError
from veridical.evaluation.predictions import read_predictions
from veridical.training import checkpoint, heads
from veridical.training.cross_fit import OUT_OF_FOLD, cross_fit
from veridical.training.experiment import Experiment, Head, load_experiment, with_values
from veridical.training.export import export, read_splits
from veridical.training.judging import logits_of
from veridical.training.loop import Run
from veridical.training.run import run_experiment

RECIPE = """
import dataclasses
from veridical.training.experiments.clip_linear import EXPERIMENT
EXPERIMENT = dataclasses.replace(EXPERIMENT, settings={"backbone": "clip-tiny", "blocks": [1, 2]})
"""


FIT = Head(solver="logistic", inverse_penalty=0.01, folds=3)


def quiet(line: str) -> None:
    """Nobody watches."""


def experiment(data: Path, **changes: object) -> Experiment:
    tiny: dict[str, object] = {"backbone": "clip-tiny", "blocks": [1, 2]}
    published = with_values(load_experiment("clip_linear"), **tiny, data=str(data))
    return dataclasses.replace(published, fit=dataclasses.replace(FIT, **changes))  # type: ignore[arg-type] # by name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four publishers, each of both classes, in three splits; fakes are brighter."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    rows = ["path,label,generator,source,split,group"]
    for index in range(48):
        label, publisher = ("real", "fake")[index % 2], f"p{index // 2 % 4}"
        split = "test" if publisher == "p3" else "val" if publisher == "p2" else "train"
        level = 140 if label == "fake" else 100
        PIL.Image.fromarray(rng.integers(0, level, (80, 90, 3), dtype=np.uint8)).save(root / f"{index}.png")
        rows.append(f"{index}.png,{label},{'g' if label == 'fake' else ''},{publisher},{split},{publisher}")
    (root / "set.csv").write_text("\n".join(rows) + "\n")
    return root / "set.csv"


@pytest.fixture
def best(folder: Path, tmp_path: Path, tiny_backbone: str) -> Path:
    return run_experiment(experiment(folder), Run(tmp_path / "run", say=quiet))


def test_everyone_of_train_and_val_is_judged_once_by_a_head_without_their_publisher(
    best: Path, folder: Path, tmp_path: Path
) -> None:
    rows = read_predictions(best.with_name(OUT_OF_FOLD))
    samples = [*read_samples(folder, "train"), *read_samples(folder, "val")]
    assert [Path(row.path).name for row in rows] == [sample.path.name for sample in samples]
    assert {(row.detector, row.bundle) for row in rows} == {("clip_linear", "")}
    one = [sample for sample in samples if sample.group != "p1"]
    other = [sample for sample in samples if sample.group == "p1"]
    alone = heads.train(experiment(folder), one, other, Run(tmp_path / "alone", say=quiet))
    log = json.loads((alone.parent / "log.jsonl").read_text())
    ours = {row.path: row.logit for row in rows if row.group == "p1"}
    again = _logits(alone, experiment(folder), other, tmp_path)
    assert [ours[sample.name] for sample in other] == pytest.approx(again, abs=1e-4)
    assert log["val_auroc"] > 0.9


def test_the_head_that_is_kept_has_seen_all_publishers(best: Path, folder: Path, tmp_path: Path) -> None:
    samples = [*read_samples(folder, "train"), *read_samples(folder, "val")]
    all_at_once = heads.train(experiment(folder), samples, (), Run(tmp_path / "all", say=quiet))
    ours, theirs = (checkpoint.load(path)[0]["head.fc.weight"] for path in (best, all_at_once))
    assert torch.equal(ours, theirs)


def test_folds_leave_no_networks_behind(best: Path) -> None:
    assert [path.relative_to(best.parent).as_posix() for path in best.parent.rglob("*.safetensors")] == [
        "best.safetensors"
    ]


def test_its_bundle_is_calibrated_on_what_was_predicted_out_of_fold(
    best: Path, folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(RECIPE)
    splits = read_splits(str(folder), tmp_path / "bundle")
    bundle = export(best, tmp_path / "bundle", splits, experiment=str(recipe), say=quiet)
    calibration, training = bundle.card.calibration, bundle.card.training
    assert calibration is not None
    assert training is not None
    assert calibration.fitted_on == f"{folder}, splits train and val, out of fold"
    assert (calibration.n_real, calibration.n_fake) == (18, 18)
    assert calibration.data_sha256 == training.data_sha256 == data_sha256([*splits.train, *splits.val])
    assert training.name == f"{folder}, splits train and val"


def test_predictions_for_other_samples_calibrate_nothing(best: Path, folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(RECIPE)
    stored = best.with_name(OUT_OF_FOLD)
    stored.write_text("\n".join(stored.read_text().splitlines()[:-1]) + "\n")
    splits = read_splits(str(folder), tmp_path / "bundle")
    with pytest.raises(ModelError) as caught:
        export(best, tmp_path / "bundle", splits, experiment=str(recipe), say=quiet)
    assert caught.value.code == "data_mismatch"


@pytest.mark.parametrize("changes", [{"solver": "adam"}, {"inverse_penalty": 0.0}])
def test_where_validation_chooses_there_are_no_folds(
    changes: dict[str, object], folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    with pytest.raises(UsageError, match="without validation"):
        cross_fit(experiment(folder, **changes), read_samples(folder, "train"), Run(tmp_path, say=quiet))


def test_more_than_a_head_has_no_folds(folder: Path, tmp_path: Path, tiny_backbone: str) -> None:
    with pytest.raises(UsageError, match="no 'folds' to set"):
        with_values(experiment(folder), fit="loop", tune="norm", folds=3)
    with pytest.raises(UsageError, match="more than a head"):
        cross_fit(with_values(experiment(folder), fit="loop"), read_samples(folder), Run(tmp_path, say=quiet))


def test_folds_never_write_a_network(
    folder: Path, tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(checkpoint, "save", lambda path, tensors, facts: written.append(path))
    cross_fit(experiment(folder), [*read_samples(folder, "train"), *read_samples(folder, "val")], Run(tmp_path))
    assert written == [tmp_path / "best.safetensors"]


def _logits(path: Path, recipe: Experiment, samples: list[Sample], folder: Path) -> list[float]:
    found: list[float] = logits_of(recipe, path, samples, Run(folder, say=quiet)).tolist()
    return found
