"""Data sets of each shape give the same kind of samples, and nothing is skipped."""

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import counts, data_sha256, load_pixels, read_samples
from veridical.errors import DataError
from veridical.results import Box, Label


def picture(path: Path, value: int = 100, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (value, 10, 20)).save(path)
    return path


def manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "images.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_manifest_gives_labels_splits_and_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = manifest(
        tmp_path,
        [
            {"path": "a.png", "label": "fake", "generator": "sdxl", "split": "train", "box": "10,4,20,30"},
            {"path": "a.png", "label": "real", "generator": "", "split": "val", "box": ""},
        ],
    )
    (sample,) = read_samples(path, "train")
    assert sample.label is Label.FAKE
    assert sample.box == Box(10, 4, 20, 30)
    assert load_pixels(sample).shape == (30, 20, 3)
    assert counts(read_samples(path)) == (1, 1)


def test_a_manifest_says_whether_a_picture_is_like_a_photograph(tmp_path: Path) -> None:
    rows = [{"path": "a.png", "label": "real", "photo_like": "mixed"}, {"path": "b.png", "label": "real"}]
    assert [sample.photo_like for sample in read_samples(manifest(tmp_path, rows))] == ["mixed", ""]


def test_a_manifest_says_under_which_licence_a_picture_is_where_it_knows(tmp_path: Path) -> None:
    rows = [{"path": "a.png", "label": "real", "licence": licence} for licence in ("CC-BY", "")]
    assert [sample.licence for sample in read_samples(manifest(tmp_path, rows))] == ["CC-BY", ""]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"path": "a.png", "label": "maybe"}, "neither 'real' nor 'fake'"),
        ({"path": "a.png", "label": "real", "box": "1,2,3"}, "not x,y,w,h"),
        ({"path": "a.png", "label": "real", "box": "-1,2,3,4"}, "not inside"),
        ({"file": "a.png", "label": "real"}, "no column path"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_samples(manifest(tmp_path, [row]))


def test_an_unreadable_sample_stops_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    (sample,) = read_samples(manifest(tmp_path, [{"path": "broken.png", "label": "real"}]))
    with pytest.raises(DataError, match=r"broken\.png") as caught:
        load_pixels(sample)
    assert caught.value.code == "unreadable_sample"


def test_a_box_outside_its_picture_stops(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (sample,) = read_samples(manifest(tmp_path, [{"path": "a.png", "label": "real", "box": "60,0,20,20"}]))
    with pytest.raises(DataError, match="outside"):
        load_pixels(sample)


def test_folders_name_generators_sources_and_splits(tmp_path: Path) -> None:
    for name in ("train/real/camera/1.png", "train/fake/sdxl/2.png", "val/0_real/3.png", "val/1_fake/4.png"):
        picture(tmp_path / name)
    train = read_samples(tmp_path, "train")
    assert [(s.label, s.generator, s.source) for s in train] == [
        (Label.FAKE, "sdxl", "sdxl"),
        (Label.REAL, "", "camera"),
    ]
    assert counts(read_samples(tmp_path, "val")) == (1, 1)


def test_two_list_files_are_a_data_set(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "real.txt").write_text("a.png\n\n")
    (tmp_path / "fake.txt").write_text(f"{tmp_path / 'a.png'}\n")
    samples = read_samples(f"{tmp_path / 'real.txt'},{tmp_path / 'fake.txt'}")
    assert [s.label for s in samples] == [Label.REAL, Label.FAKE]
    assert np.array_equal(load_pixels(samples[0]), load_pixels(samples[1]))


def test_an_unknown_split_lists_the_known_ones(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = manifest(tmp_path, [{"path": "a.png", "label": "real", "split": "train"}])
    with pytest.raises(DataError, match="its splits: train"):
        read_samples(path, "test")


def test_the_hash_of_a_set_depends_on_content_and_label_but_not_on_order_or_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        picture(tmp_path / folder / "real" / "a.png", 1)
        picture(tmp_path / folder / "fake" / "b.png", 2)
    picture(tmp_path / "three" / "real" / "b.png", 2)
    picture(tmp_path / "three" / "fake" / "a.png", 1)
    one, two, three = (read_samples(tmp_path / folder) for folder in ("one", "two", "three"))
    assert data_sha256(one) == data_sha256(list(reversed(two)))
    assert data_sha256(one) != data_sha256(three)


@pytest.mark.shared
def test_every_sample_of_the_shared_manifest_has_its_place(shared: Path) -> None:
    samples = read_samples(shared / "data" / "images.csv")
    assert counts([s for s in samples if s.split == "train"]) == (1351, 1257)
    assert counts([s for s in samples if s.split == "val"]) == (306, 123)
    assert counts([s for s in samples if s.split == "test"]) == (176, 312)
    groups = {name: {s.group for s in samples if s.split == name} for name in ("train", "val", "test")}
    assert not groups["train"] & groups["test"]
    assert not groups["val"] & groups["test"]
