"""Names become what makes fakes of crops, and several share the crops by a rule that needs no chance."""

import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from veridical.architectures import tiny_autoencoder
from veridical.errors import UnknownModelError, UsageError
from veridical.generation import forge
from veridical.generation.forge import load_forge, parameters_of
from veridical.generation.reconstruct import load_autoencoder, reconstruct
from veridical.models.wheels import REALESRGAN


def autoencoder(folder: Path, seed: int) -> str:
    """A folder with an untrained one."""
    folder.mkdir()
    torch.manual_seed(seed)
    halves = tiny_autoencoder.build()
    for name, half in (("encoder", halves.encoder), ("decoder", halves.decoder)):
        safetensors.torch.save_file(half.state_dict(), folder / f"{name}.safetensors")
    return str(folder)


def crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8))


def test_one_folder_is_its_autoencoder_even_with_a_separator_in_its_name(tmp_path: Path) -> None:
    folder = autoencoder(tmp_path / "a;b", seed=0)
    expected = functools.partial(reconstruct, autoencoder=load_autoencoder(Path(folder)))
    for crop in crops(3):
        assert np.array_equal(load_forge(folder)(crop), expected(crop))


def test_of_several_each_crop_gets_one_by_its_pixels_alone(tmp_path: Path) -> None:
    names = [autoencoder(tmp_path / name, seed) for seed, name in enumerate("ab")]
    one, two, both = (load_forge(name) for name in (*names, ";".join(names)))
    fakes = [both(crop) for crop in crops(8)]
    by_one = [np.array_equal(fake, one(crop)) for crop, fake in zip(crops(8), fakes, strict=True)]
    by_two = [np.array_equal(fake, two(crop)) for crop, fake in zip(crops(8), fakes, strict=True)]
    assert by_one == [not chosen for chosen in by_two]
    assert len(set(by_one)) == 2
    again = [both(crop) for crop in crops(8)[::-1]]
    assert np.array_equal(again[::-1], fakes)


def test_several_share_the_crops_evenly() -> None:
    forges = [functools.partial(np.full_like, fill_value=number) for number in (0, 1, 1)]
    made = [forge._forged_by_one(crop, forges)[0, 0, 0] for crop in crops(600)]
    assert np.mean(made) == pytest.approx(2 / 3, abs=0.06)


def test_a_forge_is_known_by_its_parameters_wherever_they_lie(tmp_path: Path) -> None:
    one, same, other = (autoencoder(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    files = (Path(one, f"{half}.safetensors").read_bytes() for half in ("decoder", "encoder"))
    assert parameters_of(one) == ",".join(hashlib.sha256(data).hexdigest() for data in files)
    assert parameters_of(one) == parameters_of(same)
    assert parameters_of(f"{one};{other}") == f"{parameters_of(one)};{parameters_of(other)}"
    small = {parameters_of(f"realesrgan:animevideov3-x{scale}") for scale in (2, 4)}
    assert len(small) == 2
    assert all(file.sha256 in parameters_of("realesrgan:x4plus") for file in REALESRGAN["x4plus"])


@pytest.mark.parametrize("names", ["", "realesrgan:x4plus;", ";"])
def test_a_missing_name_is_refused(names: str) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        load_forge(names)
    with pytest.raises(UsageError):
        parameters_of(names)


@pytest.mark.parametrize("function", [load_forge, parameters_of])
def test_an_unknown_upscaler_is_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(UnknownModelError):
        function("realesrgan:x5")
