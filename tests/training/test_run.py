"""Which samples an experiment trains on, and which validate."""

import dataclasses
from pathlib import Path

import PIL.Image
import pytest

from veridical.data.samples import Sample, counts, read_samples
from veridical.errors import DataError
from veridical.training.experiment import Experiment, load_experiment, with_changes
from veridical.training.run import splits_of


def make_set(folder: Path, *, reals: int, fakes: int, split: str = "") -> Path:
    for label, count in (("real", reals), ("fake", fakes)):
        place = folder / split / label / folder.name
        place.mkdir(parents=True)
        for index in range(count):
            PIL.Image.new("RGB", (8, 8), (index, len(label), 7)).save(place / f"{index}.png")
    return folder


def experiment(*assignments: str) -> Experiment:
    return with_changes(load_experiment("npr_shared"), assignments)


def names(samples: list[Sample]) -> set[str]:
    return {sample.name for sample in samples}


def test_several_sets_of_every_shape_are_joined(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=10, fakes=10)
    two = make_set(tmp_path / "two", reals=5, fakes=5)
    for label in ("real", "fake"):
        (tmp_path / f"{label}.txt").write_text(f"two/{label}/two/0.png\ntwo/{label}/two/1.png\n")
    lists = f"{tmp_path / 'real.txt'},{tmp_path / 'fake.txt'}"
    joined = read_samples(f"{one};{lists}")
    assert counts(joined) == (12, 12)
    assert {s.path.parts[-4] for s in joined} == {"one", "two"}
    train, val = splits_of(experiment(f"data={one};folder:{two}"))
    assert counts([*train, *val]) == (15, 15)
    assert not names([*train]) & names([*val])


def test_a_part_that_is_no_set_is_named(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=1, fakes=1)
    with pytest.raises(DataError, match="'nowhere' is not a data set"):
        read_samples(f"{one};nowhere")
    with pytest.raises(DataError, match="'' is not a data set"):
        read_samples(f"{one};")


def test_a_path_with_a_semicolon_is_a_path(tmp_path: Path) -> None:
    assert counts(read_samples(make_set(tmp_path / "a;b", reals=2, fakes=1))) == (2, 1)


def test_every_set_gives_its_own_validation_split_or_a_part_held_out(tmp_path: Path) -> None:
    split = make_set(
        make_set(tmp_path / "split", reals=9, fakes=9, split="train"), reals=3, fakes=3, split="val"
    )
    whole = make_set(tmp_path / "whole", reals=10, fakes=20)
    train, val = splits_of(experiment(f"data={split};{whole}"))
    assert counts(train) == (9 + 8, 9 + 16)
    assert counts(val) == (3 + 2, 3 + 4)


def test_a_validation_set_of_its_own_leaves_the_training_set_whole(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=10, fakes=10)
    two = make_set(make_set(tmp_path / "two", reals=9, fakes=9, split="train"), reals=3, fakes=3, split="val")
    train, val = splits_of(experiment(f"data={one}", f"val_data={two}"))
    assert (counts(train), counts(val)) == ((10, 10), (3, 3))


def test_a_validation_set_never_gives_its_test_split(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=10, fakes=10)
    two = make_set(tmp_path / "two", reals=3, fakes=3, split="test")
    with pytest.raises(DataError, match="splits test, but no 'val'"):
        splits_of(experiment(f"data={one}", f"val_data={two}"))


def test_files_in_training_and_validation_are_refused(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=2, fakes=2)
    with pytest.raises(DataError, match="4 files are in training and in validation"):
        splits_of(experiment(f"data={one}", f"val_data={one}"))


def test_the_training_set_alone_is_drawn_from_and_truncated(tmp_path: Path) -> None:
    one = make_set(tmp_path / "one", reals=20, fakes=40)
    train, val = splits_of(experiment(f"data={one}", "num_reals=12", "num_fakes=30"))
    assert (counts(train), counts(val)) == ((12, 30), (4, 8))
    train, val = splits_of(experiment(f"data={one}", "num_reals=12", "balance=truncate"))
    assert (counts(train), counts(val)) == ((12, 12), (4, 8))


def test_the_shared_set_keeps_its_splits_and_can_be_cut(shared: Path) -> None:
    data = str(shared / "data" / "images.csv")
    train, val = splits_of(experiment(f"data={data}"))
    assert train == read_samples(data, "train")
    assert val == read_samples(data, "val")
    cut, _ = splits_of(experiment(f"data={data}", "num_fakes=100", "balance=truncate"))
    assert counts(cut) == (100, 100)


def test_settings_with_few_choices_and_ranges_are_read_from_text() -> None:
    changed = experiment("augmentation.blur_sigma=[0, 2]", "augmentation.jpeg_quality=[30, 90]")
    assert changed.augmentation.blur_sigma == (0.0, 2.0)
    assert changed.augmentation.jpeg_quality == (30, 90)
    assert dataclasses.replace(changed, augmentation=load_experiment("npr_shared").augmentation) == experiment()
    with pytest.raises(Exception, match="one of weight, truncate"):
        experiment("balance=heavy")
