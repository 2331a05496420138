"""Batches are balanced, seeded, resumable, and alike for both classes."""

from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.loader import Augmentation, batches, batches_per_epoch, epoch_order
from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError
from veridical.results import Label


def sample(label: Label, stratum: str, index: int) -> Sample:
    generator = stratum if label is Label.FAKE else ""
    return Sample(Path(f"{stratum}/{index}.png"), label, generator=generator, source=stratum, group=stratum)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(12):
        name = "real/camera" if index % 2 else "fake/sdxl"
        path = tmp_path / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return tmp_path


def test_an_epoch_is_half_real_and_half_fake_whatever_the_set() -> None:
    samples = [sample(Label.REAL, "camera", i) for i in range(300)]
    samples += [sample(Label.FAKE, "sdxl", i) for i in range(20)]
    order = epoch_order(samples, seed=0, epoch=0)
    assert len(order) == 320
    assert Counter(samples[i].label for i in order) == {Label.REAL: 160, Label.FAKE: 160}


def test_small_generators_are_seen_more_often_than_their_share_but_not_as_often_as_large_ones() -> None:
    samples = [sample(Label.REAL, "camera", i) for i in range(1000)]
    samples += [sample(Label.FAKE, "large", i) for i in range(900)]
    samples += [sample(Label.FAKE, "small", i) for i in range(100)]
    drawn = Counter(samples[i].generator for i in epoch_order(samples, seed=1, epoch=0))
    assert 0.2 < drawn["small"] / (drawn["small"] + drawn["large"]) < 0.3  # sqrt: 10 / (10 + 30)


def test_no_picture_repeats_before_its_stratum_is_used_up() -> None:
    samples = [sample(Label.REAL, "camera", i) for i in range(50)]
    samples += [sample(Label.FAKE, "sdxl", i) for i in range(50)]
    assert len(set(epoch_order(samples, seed=0, epoch=3))) == 100


def test_epochs_differ_and_the_same_seed_repeats_them() -> None:
    samples = [sample(label, "x", i) for label in Label for i in range(20)]
    first = epoch_order(samples, seed=0, epoch=0)
    assert first == epoch_order(samples, seed=0, epoch=0)
    assert first != epoch_order(samples, seed=0, epoch=1)
    assert first != epoch_order(samples, seed=1, epoch=0)


def test_a_set_of_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="no fake sample"):
        epoch_order([sample(Label.REAL, "camera", i) for i in range(4)], seed=0, epoch=0)


def test_batches_are_the_same_from_any_start_and_with_any_number_of_threads(folder: Path) -> None:
    samples = read_samples(folder)

    def drawn(start: int, workers: int) -> list[np.ndarray]:
        made = batches(
            samples,
            augmentation=Augmentation(crop=32),
            batch_size=4,
            seed=5,
            epoch=2,
            start=start,
            workers=workers,
        )
        return [batch.pixels for batch in made]

    whole = drawn(0, workers=1)
    assert len(whole) == batches_per_epoch(samples, 4) == 3
    assert [b.shape for b in whole] == [(4, 32, 32, 3)] * 3
    for a, b in zip(whole[1:], drawn(1, workers=3), strict=True):
        assert np.array_equal(a, b)


def test_labels_belong_to_their_pictures(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        value = 250 if "fake" in path.parts else 5
        PIL.Image.new("RGB", (64, 64), (value,) * 3).save(path)
    for batch in batches(
        read_samples(folder), augmentation=Augmentation(crop=32), batch_size=4, seed=0, epoch=0
    ):
        assert ((batch.pixels.mean(axis=(1, 2, 3)) > 128) == (batch.labels == 1)).all()


def test_an_augmentation_that_does_nothing_gives_the_pixels_themselves() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    augmentation = Augmentation(crop=32, downscale=0.0, reencoded=False)
    seen = [augmentation.apply(pixels, np.random.default_rng(seed)) for seed in range(6)]
    assert all(np.array_equal(s, pixels) or np.array_equal(s, pixels[:, ::-1]) for s in seen)


def test_a_published_resize_comes_before_the_crop() -> None:
    pixels = np.zeros((40, 200, 3), dtype=np.uint8)
    made = Augmentation(crop=56, resize=64, downscale=0.0).apply(pixels, np.random.default_rng(0))
    assert made.shape == (56, 56, 3)
