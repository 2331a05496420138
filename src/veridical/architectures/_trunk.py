"""The small network that judges prepared maps and numbers: what `spectral` and `svd` share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_WIDTHS = (32, 64, 96)

# A number that hardly varies over the training set is blown up tenfold at most, and its rounding error with it.
_LEAST_VARIANCE = 1e-2


class Trunk(nn.Module):
    """Three strided convolutions over the maps and one layer over the numbers, then one logit from both.

    The numbers should be of order one, logarithms for example: a batch norm comes first.
    """

    def __init__(self, channels: int, numbers: int) -> None:
        super().__init__()
        inputs = (channels, *_WIDTHS[:-1])
        self.maps = nn.Sequential(*(_halve(i, o) for i, o in zip(inputs, _WIDTHS, strict=True)))
        self.numbers = nn.Sequential(
            nn.BatchNorm1d(numbers, eps=_LEAST_VARIANCE), nn.Linear(numbers, _WIDTHS[-1]), nn.ReLU()
        )
        self.head = nn.Linear(2 * _WIDTHS[-1], 1)

    def forward(self, maps: Float[Tensor, "b c h w"], numbers: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
        """Logits."""
        both = torch.cat([self.maps(maps).mean(dim=(2, 3)), self.numbers(numbers)], dim=1)
        logits: Tensor = self.head(both)
        return logits.squeeze(1)


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
