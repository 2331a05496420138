"""An audit finds the shortcut that was built in, and no other; and every copy by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo
from sklearn.metrics import balanced_accuracy_score

from veridical.data.alignment import align
from veridical.data.loader import Augmentation
from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError, UsageError
from veridical.evaluation.audit import audit, audit_views
from veridical.evaluation.audit.families import of_files
from veridical.evaluation.audit.looks import look_at
from veridical.evaluation.audit.shortcuts import LEAST_PER_CLASS, measure
from veridical.media.header import read_header
from veridical.results import Box, Label

Pixels = NDArray[np.uint8]


def texture(seed: int, size: tuple[int, int] = (64, 64)) -> Pixels:
    """Coarse noise, different for each seed and alike in colour for all."""
    low = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(low).resize(size, PIL.Image.Resampling.BICUBIC))


def save(path: Path, pixels: Pixels, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type] # as Pillow's formats have them
    return path


def sample(path: Path, label: Label, **facts: object) -> Sample:
    known: dict[str, object] = {"generator": "", "source": "s", "group": "", "split": ""}
    return Sample(path=path, label=label, **(known | facts))  # type: ignore[arg-type] # fields by name


def make_set(root: Path, *, real: dict[str, object], fake: dict[str, object], n: int = 50) -> list[Sample]:
    """`n` of each class, by four publishers each; `suffix`, `size` and Pillow's options of a class."""
    samples = []
    for label, how in ((Label.REAL, dict(real)), (Label.FAKE, dict(fake))):
        suffix, size = how.pop("suffix", "jpg"), how.pop("size", (64, 64))
        for index in range(n):
            path = root / label.name / f"{index}.{suffix}"
            save(path, texture(1000 * label + index, size), **how)  # type: ignore[arg-type] # a pair
            samples.append(
                sample(path, label, source=f"{label.name}{index % 4}", group=f"{label.name}{index % 4}")
            )
    return samples


def failed(samples: list[Sample]) -> set[str]:
    return {name for name, shortcut in audit(samples).shortcuts.items() if shortcut.failed}


def test_alike_files_have_no_shortcut_but_that_sources_have_one_class(tmp_path: Path) -> None:
    samples = make_set(tmp_path, real={"quality": 90}, fake={"quality": 90})
    found = audit(samples)
    assert found.failures == ("source",)
    assert found.shortcuts["source"].note == "8 of 8 sources hold one class only"
    assert found.shortcuts["format"].balanced_accuracy is not None
    assert found.shortcuts["format"].balanced_accuracy.n == 100


@pytest.mark.parametrize(
    ("fake", "found"),
    [
        ({"suffix": "webp", "lossless": True}, {"format"}),
        ({"size": (80, 64), "quality": 90}, {"size", "aspect"}),
        ({"quality": 60}, {"quantisation", "bytes", "bytes_per_pixel"}),
        ({"quality": 90, "comment": b"made by a machine"}, {"metadata"}),
    ],
)
def test_a_shortcut_that_was_built_in_is_found(
    tmp_path: Path, fake: dict[str, object], found: set[str]
) -> None:
    shortcuts = failed(make_set(tmp_path, real={"quality": 90}, fake=fake))
    # Each of these is of one family alone; the number of bytes depends on everything.
    alone = {"size", "aspect", "format", "quantisation", "metadata"}
    assert found <= shortcuts
    assert shortcuts & alone == found & alone


def test_colours_that_tell_the_class_fail(tmp_path: Path) -> None:
    samples = []
    for label in Label:
        for index in range(50):
            dark = texture(1000 * label + index) // (2 if label is Label.FAKE else 1)
            samples.append(sample(save(tmp_path / f"{label}-{index}.png", dark), label))
    assert "colour" in failed(samples)


def test_a_shortcut_of_each_publisher_alone_does_not_carry_over() -> None:
    """Each publisher has a number of its own for either class, and no two are alike."""
    rng = np.random.default_rng(0)
    numbers = rng.permutation(32).reshape(16, 2)
    samples: list[Sample] = []
    values = []
    for publisher in range(16):
        for _ in range(20):
            label = Label(int(rng.integers(2)))
            samples.append(sample(Path(f"{len(samples)}"), label, group=str(publisher)))
            values.append([float(numbers[publisher, label])])
    found = measure({"quality": np.array(values)}, samples)["quality"]
    assert found.balanced_accuracy is not None
    assert found.grouped is not None
    assert found.balanced_accuracy.value > 0.95
    assert found.grouped.low < 0.5 < found.grouped.high
    assert found.failed


def test_balanced_accuracy_is_scikit_learns_and_chance_does_not_fail() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(400) < 0.3
    feature = labels + rng.integers(0, 2, 400)  # 0: surely real, 2: surely fake, 1: says nothing
    samples = [sample(Path(str(i)), Label(int(label))) for i, label in enumerate(labels)]
    families = {"some": feature[:, None].astype(float), "none": rng.random((400, 3))}
    found = measure(families, samples)
    estimate = found["some"].balanced_accuracy
    assert estimate is not None
    # The classifier can do no better than to give all of value 1 the same label.
    best = max(balanced_accuracy_score(labels, feature >= threshold) for threshold in (1, 2))
    assert estimate.low <= best <= estimate.high
    assert estimate.low < estimate.value < estimate.high
    assert (found["some"].failed, found["none"].failed) == (True, False)


def test_too_few_samples_allow_no_statement(tmp_path: Path) -> None:
    samples = make_set(tmp_path, real={}, fake={"suffix": "png"}, n=LEAST_PER_CLASS - 1)
    found = audit(samples)
    assert found.passed
    assert all(shortcut.balanced_accuracy is None for shortcut in found.shortcuts.values())
    assert "not measured" in found.shortcuts["format"].note


def test_quantisation_is_measured_among_jpegs_alone(tmp_path: Path) -> None:
    samples = make_set(tmp_path, real={"quality": 90}, fake={"suffix": "png"})
    looks, _ = look_at(samples)
    values = of_files(looks)["quantisation"]
    assert np.isnan(values[50:]).all()
    assert not np.isnan(values[:50]).any()


def test_regions_of_a_file_are_samples_with_their_own_size_and_no_byte_count(tmp_path: Path) -> None:
    path = save(tmp_path / "four.png", texture(0, (128, 96)))
    region = sample(path, Label.FAKE, box=Box(64, 0, 64, 48))
    (look,), _ = look_at([region])
    features = of_files([look])
    assert features["size"].tolist() == [[64, 48, 64 * 48]]
    assert np.isnan(features["bytes"]).all()
    assert look.colours.sum() == pytest.approx(1)


def test_a_test_picture_saved_again_in_train_is_found_by_name(tmp_path: Path) -> None:
    clean = [
        sample(
            save(tmp_path / f"{i}.png", texture(i, (96, 96))), Label(i % 2), split="train" if i < 30 else "test"
        )
        for i in range(40)
    ]
    assert audit(clean).duplicates == ()
    leak = save(tmp_path / "leak.jpg", texture(35, (96, 96)), quality=85)
    found = audit([*clean, sample(leak, Label.FAKE, split="train")])
    (duplicate,) = found.duplicates
    assert duplicate.kind == "near"
    assert {copy.name for copy in duplicate.copies} == {str(leak), str(tmp_path / "35.png")}
    assert {copy.split for copy in duplicate.copies} == {"train", "test"}
    assert found.failures == ("duplicates",)


def test_copies_by_bytes_and_by_pixels_are_told_apart(tmp_path: Path) -> None:
    one = save(tmp_path / "one.png", texture(0))
    same = tmp_path / "same.png"
    same.write_bytes(one.read_bytes())
    lossless = save(tmp_path / "lossless.webp", texture(0), lossless=True)
    by_bytes = audit([sample(one, Label.REAL, split="train"), sample(same, Label.REAL, split="test")])
    assert [found.kind for found in by_bytes.duplicates] == ["file"]
    by_pixels = audit([sample(one, Label.REAL, split="train"), sample(lossless, Label.REAL, split="test")])
    assert [found.kind for found in by_pixels.duplicates] == ["pixels"]


def test_a_region_saved_as_a_file_of_its_own_is_a_copy(tmp_path: Path) -> None:
    whole = texture(0, (128, 128))
    region = sample(save(tmp_path / "w.png", whole), Label.FAKE, split="train", box=Box(0, 64, 64, 64))
    cut = sample(save(tmp_path / "cut.png", whole[64:, :64]), Label.FAKE, split="test")
    (duplicate,) = audit([region, cut]).duplicates
    assert duplicate.kind == "pixels"
    assert [copy.box for copy in duplicate.copies] == ["0,64,64,64", ""]


def test_copies_within_a_split_matter_only_under_two_labels(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", texture(0)) for i in range(2)]
    assert audit([sample(path, Label.REAL, split="train") for path in paths]).passed
    mixed = audit([sample(p, label, split="train") for p, label in zip(paths, Label, strict=True)])
    assert [found.kind for found in mixed.duplicates] == ["file"]


def test_blank_pictures_are_no_copies_of_one_another(tmp_path: Path) -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    paths = [save(tmp_path / "white.png", white), save(tmp_path / "white.webp", white, lossless=True)]
    splits = ("train", "test")
    assert audit([sample(p, Label.REAL, split=s) for p, s in zip(paths, splits, strict=True)]).passed


def test_publishers_and_prompts_in_two_splits_fail(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text(
        "path,label,source,group,split,prompt\n"
        "0.png,fake,s,someone,train,a red cube\n"
        "1.png,fake,s,another,test,a red cube\n"
        "2.png,real,s,someone,test,\n"
    )
    for index in range(3):
        save(tmp_path / f"{index}.png", texture(index))
    found = audit(read_samples(tmp_path / "set.csv"))
    (group,), (prompt,) = found.groups_in_two_splits, found.prompts_in_two_splits
    assert (group.name, group.splits, group.samples) == ("someone", ("test", "train"), 2)
    assert prompt.name == "a red cube"
    assert found.failures == ("groups_in_two_splits", "prompts_in_two_splits")


def test_a_source_that_stands_for_its_publisher_is_told_but_does_not_fail(tmp_path: Path) -> None:
    for index, name in enumerate(("train/real/camera", "test/real/camera")):
        save(tmp_path / name / "a.png", texture(index))
    found = audit(read_samples(tmp_path))
    assert [one.name for one in found.groups_in_two_splits] == ["camera"]
    assert found.passed


def test_unreadable_samples_fail_and_are_named_by_class(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", texture(0))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:200])
    found = audit([sample(good, Label.REAL), sample(bad, Label.FAKE, generator="g")])
    assert found.failures == ("unreadable",)
    told = json.loads(found.to_json())
    assert [(one["name"], one["code"]) for one in told["unreadable"]["fake"]] == [(str(bad), "truncated")]
    assert told["unreadable"]["real"] == []
    assert told["counts"]["unreadable"] == {"fake": 1}
    assert told["counts"]["generators"] == {"g": 1}


def test_a_set_of_which_nothing_can_be_read_is_told_whole(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    found = audit([sample(bad, label) for label in Label])
    assert found.failures == ("unreadable",)
    assert found.counts.unreadable == {"real": 1, "fake": 1}


def test_an_audit_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    samples = make_set(tmp_path, real={"quality": 90}, fake={"quality": 80}, n=10)
    assert audit(samples, workers=1).to_json() == audit(samples, workers=3).to_json()


def test_augmentation_removes_what_it_should(tmp_path: Path) -> None:
    """Fakes are lossless, reals small JPEG: nothing of that is left after the same crop and re-encoding."""
    samples = make_set(
        tmp_path, real={"quality": 75, "size": (72, 64)}, fake={"suffix": "png", "size": (80, 80)}
    )

    def found(augmentation: Augmentation) -> dict[str, bool]:
        shortcuts = audit_views(samples, augmentation).shortcuts
        return {name: one.failed for name, one in shortcuts.items() if name != "colour"}

    assert found(Augmentation(crop=48)) == {"size": False}
    assert found(Augmentation(crop=48, resize=48)) == {"size": True, "aspect": True}
    unlike = {"size": False, "format": True, "quantisation": False}  # of JPEG there is one class only
    assert found(Augmentation(crop=48, reencoded=False)) == unlike
    assert found(Augmentation(crop=72)) == {"size": True}  # one class is tiled


def test_views_of_an_unreadable_sample_are_refused_with_its_path(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png") as caught:
        audit_views([sample(bad, Label.REAL)], Augmentation(crop=32))
    assert caught.value.code == "unreadable_sample"


def test_what_was_not_looked_at_is_said(tmp_path: Path) -> None:
    samples = make_set(tmp_path, real={}, fake={}, n=40)
    found = audit_views(samples, Augmentation(crop=32), most_views=36, most_compared=75)
    assert [note.split(" of ")[-2].split()[-1] for note in found.notes] == ["72", "75"]
    assert found.shortcuts["colour"].balanced_accuracy is not None
    assert found.shortcuts["colour"].balanced_accuracy.n == 72


def test_an_aligned_copy_has_none_of_the_shortcuts_of_files(tmp_path: Path) -> None:
    samples = make_set(
        tmp_path / "set",
        real={"quality": 75, "size": (96, 72), "comment": b"camera"},
        fake={"suffix": "png", "size": (80, 80)},
    )
    assert {"size", "aspect", "format", "bytes", "metadata"} <= failed(samples)
    aligned = align(samples, tmp_path / "aligned", crop=64)
    assert (aligned.written, aligned.too_small) == (100, ())
    copies = read_samples(aligned.manifest)
    assert [(c.label, c.group, c.source) for c in copies] == [(s.label, s.group, s.source) for s in samples]
    assert failed(copies) == {"source"}


def test_an_aligned_copy_is_the_same_for_the_same_seed_and_names_what_is_too_small(tmp_path: Path) -> None:
    small = sample(save(tmp_path / "small.png", texture(0, (40, 90))), Label.FAKE)
    large = sample(save(tmp_path / "large.png", texture(1, (90, 90))), Label.REAL, split="val", content="cat")
    one, two, other = (
        align([small, large], tmp_path / name, crop=64, seed=seed)
        for name, seed in (("one", 0), ("two", 0), ("other", 1))
    )
    assert one.too_small == (small,)
    assert one.manifest.read_bytes() == two.manifest.read_bytes() != other.manifest.read_bytes()
    (copy,) = read_samples(one.manifest)
    assert (copy.split, copy.content) == ("val", "cat")
    header = read_header(copy.path)
    assert (header.format, header.metadata) == ("jpeg", ())
    with pytest.raises(UsageError, match="already"):
        align([large], tmp_path / "one")


def test_a_header_names_the_kinds_of_metadata(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "a camera"
    jpeg = read_header(save(tmp_path / "a.jpg", texture(0), exif=exif, comment=b"hello", quality=50))
    assert (jpeg.format, jpeg.metadata) == ("jpeg", ("comment", "exif"))
    # Annex K of ITU-T T.81: at quality 50 libjpeg writes its tables unscaled.
    assert jpeg.quantisation[0][:8] == (16, 11, 10, 16, 24, 40, 51, 61)
    assert jpeg.byte_count == (tmp_path / "a.jpg").stat().st_size
    text = PngInfo()
    text.add_text("parameters", "a red cube, steps: 20")
    png = read_header(save(tmp_path / "a.png", texture(0), pnginfo=text))
    assert (png.format, png.metadata, png.quantisation) == ("png", ("text",), ())


@pytest.mark.shared
def test_the_shortcuts_that_the_shared_set_names_are_found(shared: Path) -> None:
    """A sixth of its training split, which is enough."""
    looks, _ = look_at(read_samples(shared / "data" / "images.csv", "train")[::6], with_pdq=False)
    families = {name: of_files(looks)[name] for name in ("size", "format", "quantisation")}
    found = measure(families, [look.sample for look in looks])
    assert all(shortcut.failed for shortcut in found.values())
