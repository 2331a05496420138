"""Makers of aligned fakes of real crops in training, by name: autoencoders, GAN upscalers, or several of them.

A name is the folder of an autoencoder (`generation.reconstruct`) or `realesrgan:NAME` (`generation.upscale`);
names joined by `;` share the crops among them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from veridical.errors import UsageError
from veridical.generation.reconstruct import load_autoencoder, reconstruct
from veridical.generation.upscale import load_upscaler, remake, require_known
from veridical.models.card import sha256_of
from veridical.models.wheels import REALESRGAN

Pixels = npt.NDArray[np.uint8]
Forge = Callable[[Pixels], Pixels]

_UPSCALER = "realesrgan:"


def load_forge(names: str, device: str = "cpu") -> Forge:
    """A function from a crop, uint8 (h, w, 3), to a fake of the same shape; upscalers stay on the CPU.

    Of several each crop gets one, chosen by the hash of its pixels: nothing else is drawn, so the other random
    numbers of a crop stay what they are, and the same crop gets the same one whatever came before it. A name
    given twice is chosen twice as often. Raises `UsageError` for an empty name, and what the loaders raise.
    """
    parts = _parts(names)
    loaded = {name: _load(name, device) for name in dict.fromkeys(parts)}
    if len(loaded) == 1:
        return loaded[parts[0]]
    return functools.partial(_forged_by_one, forges=[loaded[name] for name in parts])


def parameters_of(names: str) -> str:
    """The sha256 of all parameters that a forge of these names has, in an order that tells forges apart."""
    return ";".join(_hashes(name) for name in _parts(names))


def _parts(names: str) -> list[str]:
    # A path that is there is a path, whatever it looks like.
    parts = [names] if Path(names).exists() else names.split(";")
    if not all(parts):
        raise UsageError(
            f"'{names}' names nothing that makes fakes of crops.",
            hint="Name the folder of an autoencoder, or realesrgan:NAME; several are joined by ';'.",
        )
    return parts


def _load(name: str, device: str) -> Forge:
    if name.startswith(_UPSCALER):
        return functools.partial(remake, upscaler=load_upscaler(name.removeprefix(_UPSCALER)))
    return functools.partial(reconstruct, autoencoder=load_autoencoder(Path(name), device))


def _hashes(name: str) -> str:
    if name.startswith(_UPSCALER):
        upscaler = name.removeprefix(_UPSCALER)
        require_known(upscaler)
        return _UPSCALER + ",".join(file.sha256 for file in REALESRGAN[upscaler])
    return ",".join(sha256_of(path.read_bytes()) for path in sorted(Path(name).glob("*.safetensors")))


def _forged_by_one(pixels: Pixels, forges: Sequence[Forge]) -> Pixels:
    digest = hashlib.sha256(pixels.tobytes()).digest()
    return forges[int.from_bytes(digest[:8], "big") % len(forges)](pixels)
