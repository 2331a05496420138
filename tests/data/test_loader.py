"""Batches are balanced, seeded, resumable, and alike for both classes."""

import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from veridical.data.loader import Augmentation, Batch, batches, batches_per_epoch, epoch_order
from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError, UsageError
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


def test_the_options_that_are_off_change_no_bit_of_what_older_experiments_drew() -> None:
    from veridical.data import perturbations

    def as_before(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < 0.25:
            pixels = perturbations.resize(pixels, rng.uniform(0.5, 1.0))
        pixels = perturbations.aligned_crop(pixels, 32, rng)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        return perturbations.reencode(pixels, rng, 60)

    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for seed in range(12):
        made = Augmentation(crop=32).apply(pixels, np.random.default_rng(seed))
        assert np.array_equal(made, as_before(pixels, np.random.default_rng(seed)))


PLAIN = Augmentation(crop=32, downscale=0.0, flip=0.0, reencoded=False)


def test_a_published_blur_takes_away_high_frequencies_of_its_share_of_pictures() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    augmentation = dataclasses.replace(PLAIN, blur=0.5, blur_sigma=(2.0, 3.0))
    made = [augmentation.apply(pixels, np.random.default_rng(seed)) for seed in range(60)]
    blurred = [m for m in made if not np.array_equal(m, pixels)]
    assert 15 < len(blurred) < 45
    assert max(float(m.std()) for m in blurred) < 0.25 * pixels.std()


def test_a_published_jpeg_is_of_a_drawn_quality_by_one_of_two_codecs() -> None:
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)
    at_90 = dataclasses.replace(PLAIN, jpeg=1.0, jpeg_quality=(90, 90))
    made = [at_90.apply(pixels, np.random.default_rng(seed)) for seed in range(20)]
    assert len({m.tobytes() for m in made}) in (1, 2)  # the codecs may agree; qualities would not
    of_pillow = io.BytesIO()
    PIL.Image.fromarray(pixels).save(of_pillow, format="JPEG", quality=90)
    assert np.asarray(PIL.Image.open(of_pillow)).tobytes() in {m.tobytes() for m in made}
    of_all = dataclasses.replace(PLAIN, jpeg=1.0)
    assert len({of_all.apply(pixels, np.random.default_rng(seed)).tobytes() for seed in range(20)}) > 8


def test_a_small_picture_is_tiled_or_enlarged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    tiled = PLAIN.apply(pixels, np.random.default_rng(0))
    assert np.array_equal(tiled[:16], tiled[16:])
    enlarged = dataclasses.replace(PLAIN, tile=False).apply(pixels, np.random.default_rng(0))
    assert enlarged.shape == (32, 32, 3)
    assert not np.array_equal(enlarged[:16], enlarged[16:])


def test_a_flip_may_be_switched_off_or_made_certain() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    always = dataclasses.replace(PLAIN, flip=1.0)
    for seed in range(5):
        assert np.array_equal(PLAIN.apply(pixels, np.random.default_rng(seed)), pixels)
        assert np.array_equal(always.apply(pixels, np.random.default_rng(seed)), pixels[:, ::-1])


def test_a_rescaled_crop_shows_more_or_less_of_the_picture_in_the_same_number_of_pixels() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))

    def slope(factor: float) -> float:
        plain = Augmentation(64, downscale=0, flip=0, reencoded=False, rescale=1.0, rescaled=(factor, factor))
        row = plain.apply(ramp, np.random.default_rng(3))[32, 8:-8, 0].astype(float)
        assert len(row) == 48
        return float(np.polyfit(np.arange(48), row, 1)[0])

    assert slope(0.5) == pytest.approx(2, rel=0.05)
    assert slope(1.0) == pytest.approx(1)
    assert slope(2.0) == pytest.approx(0.5, rel=0.05)


def test_a_crop_is_made_smaller_only_as_far_as_the_picture_is_large_enough() -> None:
    some = Augmentation(64, downscale=0, rescale=1.0, rescaled=(0.1, 0.1))
    for side in (40, 64, 65, 90):
        picture = np.random.default_rng(0).integers(0, 256, (side, 300, 3), dtype=np.uint8)
        assert some.apply(picture, np.random.default_rng(1)).shape == (64, 64, 3)


def test_what_forges_sees_the_crop_before_it_is_resized() -> None:
    seen: list[tuple[int, ...]] = []

    def forge(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return pixels

    picture = np.zeros((256, 256, 3), np.uint8)
    half = Augmentation(64, downscale=0, rescale=1.0, rescaled=(0.5, 0.5))
    assert half.apply(picture, np.random.default_rng(0), forge).shape == (64, 64, 3)
    assert seen == [(128, 128, 3)]


def test_weather_leaves_some_pictures_alone_and_changes_most() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    some = Augmentation(64, downscale=0, flip=0, reencoded=False, weather=2)
    shown = [some.apply(picture, np.random.default_rng(seed)) for seed in range(60)]
    untouched = sum(np.array_equal(each, picture) for each in shown)
    assert 8 <= untouched <= 32  # a third, with chance
    again = [some.apply(picture, np.random.default_rng(seed)) for seed in range(60)]
    assert all(map(np.array_equal, shown, again))


@pytest.mark.parametrize(
    "changes", [{"blur": 1.5}, {"flip": -0.1}, {"blur_sigma": (2.0, 1.0)}, {"jpeg_quality": (0, 100)}]
)
def test_an_impossible_augmentation_is_refused_by_the_name_of_its_option(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        Augmentation(crop=32, **changes)


def darker(pixels: np.ndarray) -> np.ndarray:
    """An autoencoder whose trace can be told: every value halved."""
    return pixels // 2


def forged_batches(
    samples: list[Sample], forged: float, *, start: int = 0, epoch: int = 0, **options: Any
) -> list[Batch]:
    augmentation = Augmentation(crop=32, **options)
    made = batches(
        samples,
        augmentation=augmentation,
        batch_size=6,
        seed=3,
        epoch=epoch,
        start=start,
        forge=darker,
        forged=forged,
    )
    return list(made)


def test_a_forged_fake_is_its_real_twin_through_the_autoencoder_alone(folder: Path) -> None:
    samples = read_samples(folder)
    for batch in forged_batches(samples, 1.0, reencoded=False):
        twins = {s.name: p for s, p, y in zip(batch.samples, batch.pixels, batch.labels, strict=True) if y == 0}
        fakes = [(s, p) for s, p, y in zip(batch.samples, batch.pixels, batch.labels, strict=True) if y == 1]
        assert fakes
        for sample, pixels in fakes:
            assert sample.label is Label.REAL
            assert np.array_equal(pixels, darker(twins[sample.name]))  # the same scale, crop and flip


def test_a_forged_fake_is_encoded_as_its_real_twin_is(folder: Path) -> None:
    def encodings(forge: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        made = batches(
            read_samples(folder),
            augmentation=Augmentation(crop=32),
            batch_size=6,
            seed=3,
            epoch=0,
            forge=forge,
            forged=1.0,
        )
        return [
            pixels
            for batch in made
            for pixels, sample, label in zip(batch.pixels, batch.samples, batch.labels, strict=True)
            if label == 1 or sample.label is Label.REAL
        ]

    # An autoencoder without a trace leaves nothing to tell the twins by, whatever was drawn for them.
    unique = {pixels.tobytes() for pixels in encodings(lambda pixels: pixels)}
    assert len(unique) <= 6
    assert len({pixels.tobytes() for pixels in encodings(darker)}) > len(unique)


def test_forging_leaves_labels_and_their_balance_as_they_were(folder: Path) -> None:
    samples = read_samples(folder)
    plain, forged = forged_batches(samples, 0.0), forged_batches(samples, 1.0)
    for before, after in zip(plain, forged, strict=True):
        assert np.array_equal(before.labels, after.labels)
        assert [s.label for s in before.samples] == [Label(int(y)) for y in before.labels]
        assert np.array_equal(before.pixels[before.labels == 0], after.pixels[after.labels == 0])


def test_the_share_of_forged_fakes_is_the_one_asked_for(folder: Path) -> None:
    samples = read_samples(folder)
    made = [batch for epoch in range(20) for batch in forged_batches(samples, 0.3, epoch=epoch)]
    fakes = [sample for batch in made for sample, y in zip(batch.samples, batch.labels, strict=True) if y == 1]
    share = sum(sample.label is Label.REAL for sample in fakes) / len(fakes)
    assert len(fakes) == 120
    assert 0.15 < share < 0.45


def test_forged_batches_are_the_same_from_any_start(folder: Path) -> None:
    samples = read_samples(folder)
    whole = forged_batches(samples, 0.5, epoch=4)
    rest = forged_batches(samples, 0.5, epoch=4, start=1)
    assert len(rest) == len(whole) - 1 == 1
    for a, b in zip(whole[1:], rest, strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert a.samples == b.samples


def test_a_batch_says_which_sample_each_row_came_from(folder: Path) -> None:
    for index, path in enumerate(sorted(folder.rglob("*.png"))):
        PIL.Image.new("RGB", (64, 64), (index * 20,) * 3).save(path)
    order = sorted(folder.rglob("*.png"))
    for batch in batches(read_samples(folder), augmentation=PLAIN, batch_size=4, seed=0, epoch=0):
        assert [order.index(s.path) * 20 for s in batch.samples] == batch.pixels[:, 0, 0, 0].tolist()
