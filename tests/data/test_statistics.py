"""Everything in a set is counted; what cannot be read is named, and copies are found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from veridical.data.samples import Sample, read_samples
from veridical.data.statistics import Group, Size, examine
from veridical.results import Box, Label

Make = Callable[..., Path]


@pytest.fixture
def root(make_pictures: Make) -> Path:
    root = make_pictures("train/REAL/1.png", "train/REAL/2.png", "train/FAKE/3.png", "test/FAKE/4.png")
    (root / "train/FAKE/cut.png").write_bytes((root / "train/FAKE/3.png").read_bytes()[:60])
    (root / "train/FAKE/notes.txt").write_text("no picture")
    return root


def test_what_cannot_be_read_is_counted_in_its_class_and_named_with_its_code(root: Path) -> None:
    found = examine(read_samples(f"cifake:{root}"))
    assert found.samples == 6
    assert Group("train", "fake", "stable-diffusion-1.4", "cifake", samples=3, unreadable=2) in found.groups
    assert Group("train", "real", "", "cifake", samples=2, unreadable=0) in found.groups
    assert [(Path(one.name).name, one.label, one.split, one.code) for one in found.unreadable] == [
        ("cut.png", "fake", "train", "truncated"),
        ("notes.txt", "fake", "train", "unsupported_format"),
    ]


def test_a_sample_whose_file_is_gone_is_unreadable(root: Path) -> None:
    samples = read_samples(f"cifake:{root}")
    samples[0].path.unlink()
    assert [(one.name, one.code) for one in examine(samples).unreadable[:1]] == [
        (str(samples[0].path), "not_found")
    ]


def test_of_two_regions_of_a_file_only_the_one_outside_is_unreadable(root: Path) -> None:
    path = root / "train/REAL/1.png"
    samples = [Sample(path, Label.REAL, "", "s", "g", box=Box(left, 0, 16, 16)) for left in (0, 20)]
    found = examine(samples)
    assert found.groups == [Group("", "real", "", "s", samples=2, unreadable=1)]
    assert [one.code for one in found.unreadable] == ["unreadable_sample"]
    assert found.appearance[0].sizes == [Size(16, 16, 1)]


def test_sizes_and_formats_are_told_by_class_since_a_difference_is_a_shortcut(root: Path) -> None:
    PIL.Image.new("RGB", (64, 40)).save(root / "train/REAL/5.jpg")
    fake, real = examine(read_samples(f"cifake:{root}")).appearance
    assert (fake.label, fake.formats, fake.different_sizes) == ("fake", {"png": 2}, 1)
    assert (real.label, real.formats, real.different_sizes) == ("real", {"jpeg": 1, "png": 2}, 2)
    assert real.sizes == [Size(32, 32, 2), Size(64, 40, 1)]


def test_copies_are_found_within_and_across_splits(root: Path) -> None:
    shutil.copy(root / "train/REAL/1.png", root / "train/REAL/again.png")
    shutil.copy(root / "train/REAL/2.png", root / "test/FAKE/leaked.png")
    found = examine(read_samples(f"cifake:{root}"))
    (within,), (across,) = found.copies_within_splits, found.copies_across_splits
    assert [Path(name).name for name in within.names] == ["1.png", "again.png"]
    assert (within.splits, within.labels) == (["train"], ["real"])
    assert (across.splits, across.labels) == (["test", "train"], ["fake", "real"])


def test_two_regions_of_one_file_are_no_copies(root: Path) -> None:
    path = root / "train/REAL/1.png"
    one, two = (Sample(path, Label.REAL, "", "s", "g", box=Box(left, 0, 16, 16)) for left in (0, 4))
    assert examine([one, two]).copies_within_splits == []
    assert len(examine([one, one]).copies_within_splits) == 1


def test_a_stated_hash_is_not_believed(root: Path) -> None:
    samples = [
        Sample(root / f"train/REAL/{name}.png", Label.REAL, "", "s", "g", sha256="0" * 64) for name in (1, 2)
    ]
    assert examine(samples).copies_within_splits == []


def test_content_is_counted_where_the_set_names_it(make_pictures: Make) -> None:
    root = make_pictures("train/car/0_real/1.png", "train/cat/0_real/2.png", "train/cat/1_fake/3.png")
    assert examine(read_samples(f"forensynths:{root}")).content == {"car": 1, "cat": 2}
