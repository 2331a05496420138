"""Trained on one set, tested on others, and never on what was trained on."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import read_samples
from veridical.errors import DataError
from veridical.training.experiment import load_experiment, with_values
from veridical.training.loop import Run
from veridical.training.transfer import train_and_judge


def write(root: Path, size: int, *, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for index in range(size):
        path = root / ("real/a", "fake/g")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = (100, 220)[index % 2]
        PIL.Image.fromarray(rng.integers(0, level, (40, 40, 3), dtype=np.uint8)).save(path)
    return root


def test_every_set_is_judged_by_one_training_that_is_kept(tmp_path: Path) -> None:
    here, there, elsewhere = (write(tmp_path / n, 40, seed=i) for i, n in enumerate(("a", "b", "c")))
    experiment = with_values(load_experiment("cifake_cnn"), epochs=2, batch_size=8, lr=0.05, data=str(here))
    tests = {str(folder): read_samples(folder) for folder in (there, elsewhere)}
    run = Run(tmp_path / "runs", say=lambda line: None)
    found = train_and_judge(experiment, tests, run)
    assert {name: len(rows) for name, rows in found.items()} == {str(there): 40, str(elsewhere): 40}
    assert len({row.bundle for rows in found.values() for row in rows}) == 1
    written = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.csv")}
    assert len(written) == 2
    train_and_judge(experiment, tests, run)
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.csv")} == written


def test_a_picture_that_was_trained_on_is_found_by_what_it_holds(tmp_path: Path) -> None:
    here = write(tmp_path / "a", 40, seed=0)
    copy = write(tmp_path / "b", 6, seed=9)
    (copy / "real/a/leak.png").write_bytes((here / "real/a/0.png").read_bytes())
    experiment = with_values(load_experiment("cifake_cnn"), batch_size=8, data=str(here))
    with pytest.raises(DataError, match=r"1 samples of copy .*leak.png") as caught:
        train_and_judge(experiment, {"copy": read_samples(copy)}, Run(tmp_path / "runs"))
    assert caught.value.code == "overlapping_splits"
