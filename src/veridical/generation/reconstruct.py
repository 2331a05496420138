"""A real photo through the encoder and decoder of a generator: an *aligned* fake.

Content, size and position of every object stay; only the decoder's traces are added. A detector trained on
such pairs cannot learn what fakes usually show, how large they are or how they were saved. The idea is that of
Anirudh Sundara Rajan, Utkarsh Ojha, Jedidiah Schloesser, Yong Jae Lee: Aligned Datasets Improve Detection of
Latent Diffusion-Generated Images, ICLR 2025, https://arxiv.org/abs/2410.11835.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from veridical.architectures import tiny_autoencoder
from veridical.architectures.tiny_autoencoder import STRIDE, TinyAutoencoder
from veridical.errors import ModelError, UsageError
from veridical.models.parameters import read_parameters

Pixels = npt.NDArray[np.uint8]

# Pixels around a tile that are decoded and thrown away, so that no tile shows its border.
MARGIN = 64


def load_autoencoder(folder: Path, device: str = "cpu") -> TinyAutoencoder:
    """The tiny autoencoder whose `encoder.safetensors` and `decoder.safetensors` lie in `folder`.

    Raises `ModelError` (`checkpoint_mismatch`) if they are those of another network.
    """
    autoencoder = tiny_autoencoder.build()
    for name, half in (("encoder", autoencoder.encoder), ("decoder", autoencoder.decoder)):
        path = folder / f"{name}.safetensors"
        parameters = {key: torch.from_numpy(value) for key, value in read_parameters(path).items()}
        try:
            half.load_state_dict(parameters)
        except RuntimeError as error:
            raise ModelError(
                f"{path} is not the {name} of TAEF2: {error}", code="checkpoint_mismatch"
            ) from error
    return autoencoder.eval().requires_grad_(False).to(device)


@torch.no_grad()
def reconstruct(pixels: Pixels, autoencoder: TinyAutoencoder, *, tile: int = 1024) -> Pixels:
    """The picture, uint8 (h, w, 3), as the autoencoder gives it back; the same shape.

    Sides that are not multiples of 8 are continued by their last row and column, and cut again. The top-left
    corner stays, so the phase of the sampling grid does too. A picture with a side longer than `tile` (a
    multiple of 8) is made in tiles, because the memory needed is about 1 kB a pixel.
    """
    if tile < STRIDE or tile % STRIDE:
        raise UsageError(f"tile is {tile}; it must be a multiple of {STRIDE}.")
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    made = np.empty_like(padded)
    for top in range(0, padded.shape[0], tile):
        for left in range(0, padded.shape[1], tile):
            rows, inner_rows = _window(top, tile, padded.shape[0])
            columns, inner_columns = _window(left, tile, padded.shape[1])
            decoded = _run(padded[rows, columns], autoencoder)
            made[top : top + tile, left : left + tile] = decoded[inner_rows, inner_columns]
    return made[:height, :width]


def _window(start: int, tile: int, side: int) -> tuple[slice, slice]:
    """The stretch to decode along one side for a tile, and the tile's place in it."""
    first, end = max(0, start - MARGIN), min(side, start + tile + MARGIN)
    return slice(first, end), slice(start - first, min(start + tile, side) - first)


def _run(pixels: Pixels, autoencoder: TinyAutoencoder) -> Pixels:
    weight = next(autoencoder.parameters())
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(weight.device, weight.dtype)
    decoded = autoencoder(x.permute(2, 0, 1)[None] / 255.0)[0].permute(1, 2, 0)
    levels: Pixels = (255.0 * decoded).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return levels
