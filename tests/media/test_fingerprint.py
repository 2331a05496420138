from __future__ import annotations

import numpy as np
import pytest

from veridical.data.perturbations import jpeg, resize
from veridical.media.fingerprint import detail, dhash, pdq


def grey(values: np.ndarray) -> np.ndarray:
    return np.stack([values.astype(np.uint8)] * 3, axis=-1)


def picture(seed: int, side: int = 300) -> np.ndarray:
    """Soft blobs of colour, with the detail and the correlation of a photograph."""
    return resize(np.random.default_rng(seed).integers(0, 256, (11, 13, 3), np.uint8), side / 12)


def bits_apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def test_dhash_has_the_bits_of_imagehash() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64))
    assert f"{dhash(grey(ramp)):016x}" == "ffffffffffffffff"
    assert dhash(grey(ramp[:, ::-1])) == 0
    stripes = np.add.outer(7 * np.arange(256), 13 * np.arange(256)) % 256
    assert f"{dhash(grey(stripes)):016x}" == "55aa50a54a55a92a"


def test_a_dhash_of_stripes_or_of_nothing_has_no_detail() -> None:
    assert detail(dhash(np.full((90, 70, 3), 128, np.uint8))) == 0
    assert detail(dhash(grey(np.tile(np.arange(64) % 16 * 16, (64, 1))))) == 0
    assert detail(dhash(picture(0))) >= 8


def test_a_dhash_hardly_changes_when_a_picture_is_halved_and_saved_again() -> None:
    for seed in range(5):
        before, after = dhash(picture(seed)), dhash(jpeg(resize(picture(seed), 0.5), 75))
        assert (before ^ after).bit_count() <= 3
        assert (before ^ dhash(picture(seed + 1))).bit_count() > 12


def test_so_does_a_pdq_hash() -> None:
    pytest.importorskip("pdqhash")
    for seed in range(5):
        large = picture(seed, side=512)
        before, after = pdq(large), pdq(jpeg(resize(large, 0.5), 75))
        assert len(before.hash) == 32
        assert bits_apart(before.hash, after.hash) <= 31
        assert bits_apart(before.hash, pdq(picture(seed + 1)).hash) > 80


def test_a_pdq_hash_of_a_large_picture_is_nearly_that_of_a_smaller_copy() -> None:
    pytest.importorskip("pdqhash")
    large = picture(3, side=1300)
    assert bits_apart(pdq(large).hash, pdq(resize(large, 0.3)).hash) <= 16


def test_a_flat_picture_has_a_pdq_quality_of_nothing() -> None:
    pytest.importorskip("pdqhash")
    assert pdq(np.full((90, 70, 3), 128, np.uint8)).quality == 0
    assert pdq(picture(0)).quality >= 50
