"""No publisher that is judged was trained on, every fold is whole, and finished folds are kept."""

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import Sample, counts, read_samples
from veridical.errors import DataError
from veridical.evaluation.folds import FOLDS
from veridical.results import Label
from veridical.training.experiment import Experiment, load_experiment, with_values
from veridical.training.leave_one_out import Fold, Key, folds, leave_one_out
from veridical.training.loop import Run


def sample(number: int, label: Label, group: str, generator: str = "", source: str = "") -> Sample:
    return Sample(Path(f"{number}.png"), label, generator, source or group, group, sha256=f"{number:064d}")


def a_set() -> list[Sample]:
    """Six publishers of reals, four of fakes, and one of both, who uses two generators."""
    plan = [(Label.REAL, f"real {i}", "", 12 + i) for i in range(6)]
    plan += [(Label.FAKE, f"fake {i}", ("sdxl", "flux", "gan", "gan")[i], 15) for i in range(4)]
    plan += [(Label.REAL, "both", "", 20), (Label.FAKE, "both", "sdxl", 20), (Label.FAKE, "both", "adm", 12)]
    plan += [(Label.FAKE, "fake 0", "rare", 9)]
    samples: list[Sample] = []
    for label, group, generator, size in plan:
        samples += [sample(len(samples) + i, label, group, generator) for i in range(size)]
    return samples


@pytest.mark.parametrize("key", ["generator", "source", "group"])
def test_no_publisher_of_a_fold_is_in_two_of_its_parts(key: Key) -> None:
    samples = a_set()
    for fold in folds(samples, key):
        parts = [{s.group for s in part} for part in (fold.train, fold.val, fold.test)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        for part in (fold.train, fold.val, fold.test):
            assert 0 not in counts(part)
        held = {s for s in samples if getattr(s, key) == fold.name}
        assert held <= set(fold.test)
        assert len(fold.train) + len(fold.val) + len(fold.test) + fold.unused == len(samples)


def test_a_fold_of_a_generator_judges_no_other_and_the_reals_of_its_publishers() -> None:
    by_name = {fold.name: fold for fold in folds(a_set(), "generator")}
    assert set(by_name) == {"adm", "flux", "gan", "sdxl"}  # of 'rare' there are nine
    adm = by_name["adm"]
    assert {s.generator for s in adm.test if s.label is Label.FAKE} == {"adm"}
    assert sum(s.group == "both" and s.label is Label.REAL for s in adm.test) == 20
    assert adm.unused == 20  # the same publisher's other generator
    assert {s.generator for s in (*by_name["gan"].train, *by_name["gan"].val)} == {
        "",
        "sdxl",
        "flux",
        "adm",
        "rare",
    }


def test_every_publisher_of_reals_is_judged_in_some_fold() -> None:
    samples = a_set()
    assert len({s.group for s in samples if s.label is Label.REAL}) > FOLDS
    judged = {s.group for fold in folds(samples, "group") for s in fold.test}
    assert judged == {s.group for s in samples}


def test_files_are_divided_where_there_are_too_few_publishers() -> None:
    samples = [
        sample(i, Label(i % 2), "all", ("", "sdxl", "", "flux")[i % 4], source=("a", "b")[i % 2])
        for i in range(120)
    ]
    for fold in folds(samples, "generator"):
        assert counts(fold.test) == (12, 30)  # a fifth of the reals
        assert not {s.path for s in fold.test} & {s.path for s in (*fold.train, *fold.val)}


def test_what_cannot_be_divided_is_said() -> None:
    with pytest.raises(DataError, match="not two of the kind generator"):
        folds([s for s in a_set() if s.generator in ("", "flux")], "generator")
    two = [s for s in a_set() if s.group in ("real 0", "real 1", "real 2", "fake 1", "fake 2", "fake 3")]
    with pytest.raises(DataError, match="too few publishers are left") as caught:
        folds(two, "generator")
    assert caught.value.hint


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three publishers of reals, and three generators of which each has its own brightness."""
    rng = np.random.default_rng(0)
    levels = {"real/a": 90, "real/b": 95, "real/c": 100, "fake/g": 160, "fake/h": 170, "fake/i": 180}
    for name, level in levels.items():
        for index in range(10):
            path = tmp_path / "set" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(rng.integers(0, level, (80, 80, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def a_head() -> Experiment:
    tiny: dict[str, object] = {"backbone": "clip-tiny", "blocks": [1, 2]}
    return with_values(load_experiment("clip_linear"), **tiny, epochs=4, lr=1e-2, batch_size=8)


def test_a_head_judges_what_it_was_not_shown_and_finished_folds_are_kept(
    pictures: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    said: list[str] = []
    run = Run(tmp_path / "runs", say=said.append)
    every = folds(read_samples(pictures), "generator")
    first = list(leave_one_out(a_head(), every, run))
    assert [fold.name for fold, _ in first] == ["g", "h", "i"]
    for fold, rows in first:
        assert {row.detector for row in rows} == {f"clip_linear without {fold.name}"}
        assert [row.path for row in rows] == [s.name for s in fold.test]
        assert all(0 <= row.score <= 1 for row in rows)
        fakes, reals = ([r.score for r in rows if r.label == label] for label in ("fake", "real"))
        assert np.mean(fakes) > 0.5 > np.mean(reals)
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    # The augmented view and the plain one of each picture at most once, for all folds together.
    assert sum(int(line.split()[1]) for line in said if line.startswith("embedding")) <= 2 * 60

    said.clear()
    again = list(leave_one_out(a_head(), every, run))
    assert [[row.score for row in rows] for _, rows in again] == [
        [row.score for row in rows] for _, rows in first
    ]
    assert all("taken from" in line for line in said)


def test_another_experiment_or_fold_is_trained_anew(pictures: Path, tmp_path: Path, tiny_backbone: str) -> None:
    said: list[str] = []
    run = Run(tmp_path / "runs", say=said.append)
    every = folds(read_samples(pictures), "generator")[:1]
    smaller = [dataclasses.replace(every[0], train=every[0].train[:-1])]
    for experiment, parts in (
        (a_head(), every),
        (a_head(), smaller),
        (with_values(a_head(), lr=1e-3), every),
    ):
        said.clear()
        list(leave_one_out(experiment, parts, run))
        assert not any("taken from" in line for line in said)


def test_a_network_is_trained_by_the_loop_and_judges_as_its_checkpoint(pictures: Path, tmp_path: Path) -> None:
    tiny = with_values(load_experiment("cifake_cnn"), epochs=1, batch_size=8)
    (fold,) = folds(read_samples(pictures), "generator")[:1]
    assert isinstance(fold, Fold)
    ((_, rows),) = leave_one_out(tiny, [fold], Run(tmp_path / "runs", say=lambda line: None))
    assert len(rows) == len(fold.test)
    assert len({row.bundle for row in rows}) == 1
    assert (tmp_path / "runs").glob("g-*/log.jsonl")
