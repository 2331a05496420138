"""A tiny autoencoder of diffusion latents: not a detector, but a generator of aligned fakes.

Ollin Boer Bohan: TAESD, Tiny AutoEncoder for Stable Diffusion, 2023, https://github.com/madebyollin/taesd
(MIT); TAEF2 is the one for the latents of FLUX.2. Both networks are plain sequences, and a parameter's name
begins with its place in the sequence, so that the published files load as they are.

Pictures are floats in [0, 1], (b, 3, h, w), height and width multiples of 8; latents are (b, 32, h/8, w/8).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

LATENT_CHANNELS = 32

# Height and width of a picture are multiples of this.
STRIDE = 8

_WIDTH = 64
_LATENT_LIMIT = 3.0


class SoftClamp(nn.Module):
    """Latents bent into (-3, 3)."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """`_LATENT_LIMIT` times the tanh."""
        return _LATENT_LIMIT * torch.tanh(x / _LATENT_LIMIT)


class ResidualBlock(nn.Module):
    """Three convolutions and a skip; with `pool` first a look at the whole picture through a group norm."""

    def __init__(self, width: int, pool: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool: nn.Sequential | None = None
        if pool:
            self.pool = nn.Sequential(
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.GroupNorm(4, 4 * width),
                nn.ReLU(),
                nn.Conv2d(4 * width, width, 1, bias=False),
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of the same shape, never negative."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(x + self.conv(x))


class TinyAutoencoder(nn.Module):
    """Encoder and decoder, 1.34 million parameters each."""

    def __init__(self, width: int = _WIDTH) -> None:
        super().__init__()
        self.encoder = _encoder(width)
        self.decoder = _decoder(width)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures after both; may leave [0, 1] a little."""
        decoded: Tensor = self.decoder(self.encoder(pictures))
        return decoded


def build(width: int = _WIDTH) -> TinyAutoencoder:
    """A fresh network, PyTorch's default initialisation; `width` 64 is the published one."""
    return TinyAutoencoder(width)


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        ResidualBlock(width, pool=False),
        *_down(width, pool=False),
        *_down(width, pool=False),
        *_down(width, pool=True),
        nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1),
    )


def _decoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        SoftClamp(),
        nn.Conv2d(LATENT_CHANNELS, width, 3, padding=1),
        nn.ReLU(),
        *_up(width, pool=True),
        *_up(width, pool=False),
        *_up(width, pool=False),
        ResidualBlock(width, pool=False),
        nn.Conv2d(width, 3, 3, padding=1),
    )


def _down(width: int, pool: bool) -> list[nn.Module]:
    halve = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
    return [halve, *(ResidualBlock(width, pool) for _ in range(3))]


def _up(width: int, pool: bool) -> list[nn.Module]:
    blocks = [ResidualBlock(width, pool) for _ in range(3)]
    return [*blocks, nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
