"""Each published layout of folders gives labels, generators, groups and splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.data.samples import counts, load_pixels, read_samples
from veridical.errors import DataError

Make = Callable[..., Path]


def rows(data: str, *fields: str) -> list[tuple[str, ...]]:
    return [tuple(str(getattr(sample, field)) for field in fields) for sample in read_samples(data)]


@pytest.mark.parametrize("name", ["cifake", "agiri"])
@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
def test_two_splits_of_two_classes_in_any_case_of_letters(
    make_pictures: Make, name: str, change: Callable[[str], str]
) -> None:
    below = [f"{split}/{label}/1.png" for split in ("train", "test") for label in ("real", "fake")]
    root = make_pictures(*(change(path.rsplit("/", 1)[0]) + "/1.png" for path in below))
    samples = read_samples(f"{name}:{root}")
    assert [s.split for s in samples] == ["test", "test", "train", "train"]
    assert [s.label.name for s in samples] == ["FAKE", "REAL", "FAKE", "REAL"]
    assert {s.generator for s in samples} == {"", {"cifake": "stable-diffusion-1.4", "agiri": "unnamed"}[name]}
    assert counts(read_samples(f"{name}:{root}", "test")) == (1, 1)


def test_a_file_that_is_no_picture_is_a_sample_all_the_same(make_pictures: Make) -> None:
    root = make_pictures("train/REAL/1.png")
    (root / "train/REAL/notes.txt").write_text("no picture")
    (root / "train/REAL/.DS_Store").touch()
    (root / "train/REAL/Thumbs.db").touch()
    one, two = read_samples(f"cifake:{root}")
    assert two.path.name == "notes.txt"
    assert load_pixels(one).shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"notes\.txt"):
        load_pixels(two)


def test_linked_folders_are_read(make_pictures: Make, tmp_path: Path) -> None:
    root = make_pictures("REAL/1.png", "FAKE/2.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "test").symlink_to(root)
    assert counts(read_samples(f"cifake:{tmp_path / 'linked'}", "test")) == (1, 1)


def test_genimage_names_generators_and_keeps_reals_with_the_fakes_beside_them(make_pictures: Make) -> None:
    root = make_pictures(
        "Midjourney/imagenet_midjourney/train/ai/1.png",
        "Midjourney/imagenet_midjourney/val/nature/n01440764/2.png",
        "glide/val/ai/3.png",
    )
    assert rows(f"genimage:{root}", "label", "generator", "group", "split", "content") == [
        ("1", "Midjourney", "Midjourney", "train", ""),
        ("0", "", "Midjourney", "val", "n01440764"),
        ("1", "glide", "glide", "val", ""),
    ]
    assert rows(f"genimage:{root / 'glide'}", "generator", "split") == [("glide", "val")]


def test_forensynths_tells_generators_from_classes(make_pictures: Make) -> None:
    root = make_pictures(
        "test/biggan/0_real/1.png",
        "test/cyclegan/horse/1_fake/2.png",
        "train/car/1_fake/3.png",
        "train/progan/train/0_real/4.png",
        "val/train/1_fake/5.png",
    )
    assert rows(f"forensynths:{root}", "label", "generator", "group", "split", "content") == [
        ("0", "", "biggan", "test", ""),
        ("1", "cyclegan", "cyclegan", "test", "horse"),
        ("1", "progan", "progan", "train", "car"),
        ("0", "", "progan", "train", "train"),
        ("1", "progan", "progan", "val", "train"),
    ]


def test_beside_other_classes_train_is_the_class_of_trains(make_pictures: Make) -> None:
    root = make_pictures("airplane/1_fake/1.png", "train/1_fake/2.png")
    assert rows(f"forensynths:{root}", "content", "split") == [("airplane", ""), ("train", "")]


def test_artifact_takes_labels_from_its_tables(make_pictures: Make) -> None:
    root = make_pictures("coco/train/1.jpg", "stable_diffusion/2.jpg", "stable_diffusion/unlisted.jpg")
    (root / "coco/metadata.csv").write_text("filename,image_path,target,category\n1.jpg,train/1.jpg,0,dog\n")
    (root / "stable_diffusion/metadata.csv").write_text(
        "filename,image_path,target,category\n2.jpg,2.jpg,6,face\ngone.jpg,gone.jpg,6,\n"
    )
    assert rows(f"artifact:{root}", "label", "generator", "source", "content") == [
        ("0", "", "artifact/coco", "dog"),
        ("1", "stable_diffusion", "artifact/stable_diffusion", "face"),
        ("1", "stable_diffusion", "artifact/stable_diffusion", ""),
    ]
    with pytest.raises(DataError, match=r"gone\.jpg"):
        load_pixels(read_samples(f"artifact:{root}")[2])


@pytest.mark.parametrize("line", ["1.jpg,maybe", "1.jpg", "\xff"])
def test_a_bad_row_of_artifact_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/metadata.csv").write_bytes(f"image_path,target\n{line}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata\.csv, line \d"):
        read_samples(f"artifact:{tmp_path}")


@pytest.mark.parametrize(
    "name", ["agiri", "artifact", "cifake", "cifar10", "cifar100", "forensynths", "genimage"]
)
def test_an_empty_or_absent_folder_is_a_data_error(name: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError):
            read_samples(f"{name}:{folder}")
