"""Perturbations keep what they promise: size, phase, seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.data import perturbations


def noise(height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("encode", [perturbations.jpeg, perturbations.webp])
def test_a_codec_keeps_the_size_and_loses_more_at_lower_quality(encode) -> None:  # type: ignore[no-untyped-def]
    pixels = noise()
    high, low = (np.abs(encode(pixels, q).astype(int) - pixels).mean() for q in (95, 30))
    assert encode(pixels, 80).shape == pixels.shape
    assert 0 < high < low


@given(height=st.integers(10, 90), width=st.integers(10, 90), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_every_crop_keeps_the_phase_of_the_grid(height: int, width: int, seed: int) -> None:
    rows, columns = np.indices((height, width)) % 2
    parity = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop = perturbations.aligned_crop(parity, 32, np.random.default_rng(seed))
    assert crop.shape == (32, 32, 3)
    assert (crop[0::2, :, 0] == 0).all()
    assert (crop[1::2, :, 0] == 1).all()
    assert (crop[:, 0::2, 1] == 0).all()
    assert (crop[:, 1::2, 1] == 1).all()


def test_a_large_picture_is_not_tiled() -> None:
    pixels = noise()
    assert perturbations.tile(pixels, 64) is pixels


def test_resize_by_one_changes_nothing_and_by_half_halves() -> None:
    pixels = noise()
    assert np.array_equal(perturbations.resize(pixels, 1.0), pixels)
    assert perturbations.resize(pixels, 0.5).shape == (32, 40, 3)


def test_reencoding_is_seeded_and_always_lossy() -> None:
    pixels = noise()
    for seed in range(8):
        once, twice = (perturbations.reencode(pixels, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(once, twice)
        assert not np.array_equal(once, pixels)
