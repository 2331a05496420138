"""An aligned fake: the same picture, through an autoencoder."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from veridical.architectures import tiny_autoencoder
from veridical.data.samples import load_pixels, read_samples
from veridical.errors import ModelError, UsageError
from veridical.generation import reconstruct as module
from veridical.generation.reconstruct import load_autoencoder, reconstruct
from veridical.results import Label


class Same(tiny_autoencoder.TinyAutoencoder):
    """Gives every picture back as it is, and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__(width=8)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(pictures.shape))
        return pictures


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - two.astype(float)) ** 2)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 16), (33, 71), (130, 250)])
def test_every_pixel_keeps_its_place_at_every_size(height: int, width: int) -> None:
    pixels = picture(height, width)
    assert np.array_equal(reconstruct(pixels, Same()), pixels)
    assert np.array_equal(reconstruct(pixels, Same(), tile=40), pixels)


def test_the_network_sees_multiples_of_8_and_no_more_than_a_tile_with_its_margin() -> None:
    autoencoder = Same()
    reconstruct(picture(300, 420), autoencoder, tile=80)
    assert len(autoencoder.seen) == 4 * 6
    for _, _, height, width in autoencoder.seen:
        assert height % 8 == width % 8 == 0
        assert max(height, width) <= 80 + 2 * module.MARGIN


def test_nothing_of_the_network_or_the_picture_changes() -> None:
    torch.manual_seed(0)
    autoencoder, pixels = tiny_autoencoder.build(width=8), picture(16, 16)
    before = pixels.copy()
    fake = reconstruct(pixels, autoencoder)
    assert fake.dtype == np.uint8
    assert not np.array_equal(fake, pixels)
    assert np.array_equal(pixels, before)
    assert all(p.grad is None for p in autoencoder.parameters())


def test_a_view_of_another_array_is_taken_like_its_copy() -> None:
    view = picture(32, 64)[:, ::-2]
    torch.manual_seed(0)
    autoencoder = tiny_autoencoder.build(width=8)
    assert np.array_equal(reconstruct(view, autoencoder), reconstruct(view.copy(), autoencoder))


def test_a_tile_that_breaks_the_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 8"):
        reconstruct(picture(16, 16), Same(), tile=100)


def test_parameters_of_another_network_are_refused(tmp_path: Path) -> None:
    for name in ("encoder", "decoder"):
        half = getattr(tiny_autoencoder.build(width=8), name)
        safetensors.torch.save_file(half.state_dict(), tmp_path / f"{name}.safetensors")
    with pytest.raises(ModelError) as caught:
        load_autoencoder(tmp_path)
    assert caught.value.code == "checkpoint_mismatch"


def test_a_folder_without_parameters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_autoencoder(tmp_path)
    assert caught.value.code == "malformed_checkpoint"


@pytest.mark.shared
def test_the_published_parameters_rebuild_real_pictures(shared: Path) -> None:
    autoencoder = load_autoencoder(shared / "models" / "taef2")
    assert not any(p.requires_grad for p in autoencoder.parameters())
    samples = read_samples(shared / "data" / "images.csv", "val")
    reals = [sample for sample in samples if sample.label is Label.REAL][::80]
    for sample in reals[:3]:
        pixels = load_pixels(sample)[:150, :201]
        fake = reconstruct(pixels, autoencoder)
        assert fake.shape == pixels.shape
        assert 20 < psnr(fake, pixels) < 50


@pytest.mark.shared
def test_tiles_hardly_show(shared: Path) -> None:
    autoencoder = load_autoencoder(shared / "models" / "taef2")
    samples = read_samples(shared / "data" / "images.csv", "val")
    pixels = load_pixels(next(s for s in samples if s.label is Label.REAL))[:192, :192]
    whole, tiled = reconstruct(pixels, autoencoder), reconstruct(pixels, autoencoder, tile=96)
    assert psnr(whole, tiled) > psnr(whole, pixels)
