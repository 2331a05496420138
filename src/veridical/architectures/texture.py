"""Gram matrices of learned features and co-occurrences of grey levels, at several scales.

Zhengzhe Liu, Xiaojuan Qi, Philip Torr: Global Texture Enhancement for Fake Face Detection in the Wild, CVPR
2020, https://arxiv.org/abs/2002.00133 (Gram-Net): correlations between feature channels, summed over the whole
picture, are texture without place, and change less with size and blur than the features. Lakshmanan Nataraj et
al.: Detecting GAN Generated Fake Images using Co-occurrence Matrices, Electronic Imaging 2019,
https://arxiv.org/abs/1903.06836: how often two levels are neighbours.

Written from the published definitions. We differ: neither is reproduced as a whole. Gram-Net has its Gram
blocks between the stages of a ResNet-18; here one shallow network looks at the picture at each scale.
Co-occurrences are of brightness and of its second difference, not of colours; they have 9 bins, not 256, but
a level between two bins counts in both in proportion, so that nothing is lost to rounding and a gradient can
flow; and both orders of a pair count, so that the matrices are symmetric.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures._pixels import luma
from veridical.architectures.precision import full_precision

BINS = 9
CHANNELS = 16

# Pairs rarer than this are alike; without it the root's slope would have no bound.
_RAREST = 1e-4

# Second differences beyond this many grey levels share the outer bins.
_STEEPEST = 16.0

_HIDDEN = 128
_LEAST_VARIANCE = 1e-3


def gram(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """Mean products of all pairs of channels: symmetric, and the same wherever things are in the picture.

    >>> gram(torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 5))[0].tolist()
    [[4.0, 6.0], [6.0, 9.0]]
    """
    flat = x.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def soft_bins(x: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape bins"]:
    """The share of each level in each of the bins, whose centres divide [low, high] evenly.

    The shares of a level sum to 1, and it is the mean of the centres weighted by them. Levels outside the range
    count as its ends.

    >>> soft_bins(torch.tensor([0.0, 0.75, 9.0]), 0.0, 8.0)[:, :3].tolist()
    [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]
    """
    place = (x.clamp(low, high) - low) * ((BINS - 1) / (high - low))
    centres = torch.arange(BINS, dtype=x.dtype, device=x.device)
    return F.relu(1.0 - (place[..., None] - centres).abs())


def co_occurrences(x: Float[Tensor, "b 1 h w"], low: float, high: float) -> Float[Tensor, "b 3 bins bins"]:
    """Frequencies of two levels as neighbours: beside, below and across the corner, in either order.

    Each of the three matrices is symmetric and sums to 1.

    >>> co_occurrences(torch.full((1, 1, 4, 4), 64.0), 0.0, 256.0)[0].nonzero().tolist()
    [[0, 2, 2], [1, 2, 2], [2, 2, 2]]
    """
    # The pixel and its three neighbours as channels: one operator in the graph instead of a dozen slices.
    shifts = torch.eye(4, dtype=x.dtype, device=x.device).reshape(4, 1, 2, 2)
    shares = soft_bins(F.conv2d(x, shifts).flatten(2), low, high)
    pairs = shares[:, :1].mT @ shares[:, 1:]
    return (pairs + pairs.mT) / (2 * pairs.sum(dim=(2, 3), keepdim=True))


def second_difference(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h2 w2"]:
    """The second difference down of that across: 0 on anything that varies in one direction only.

    >>> second_difference(torch.arange(5.0).square().expand(1, 1, 5, 5)).abs().max().item()
    0.0
    """
    one_way = torch.tensor([1.0, -2.0, 1.0], dtype=x.dtype, device=x.device)
    return F.conv2d(x, (torch.outer(one_way, one_way) / 4)[None, None])


class Texture(nn.Module):
    """Statistics at each of the scales and two layers on them; 161,397 parameters for three scales."""

    upper: Tensor
    upper_bins: Tensor

    def __init__(self, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.scales = scales
        self.stem = nn.Sequential(*_convolution(3, CHANNELS), *_convolution(CHANNELS, CHANNELS))
        self.register_buffer("upper", _upper(CHANNELS), persistent=False)
        self.register_buffer("upper_bins", _upper(BINS), persistent=False)
        numbers = len(scales) * (len(self.upper) + 2 * 3 * len(self.upper_bins))
        self.layers = nn.Sequential(
            nn.BatchNorm1d(numbers, eps=_LEAST_VARIANCE),
            nn.Linear(numbers, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(_HIDDEN, 1),
        )

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake. At least 4 pixels on each side at the coarsest scale."""
        x = pixels.permute(0, 3, 1, 2).to(next(self.parameters()).dtype)
        smaller = [F.avg_pool2d(x, scale) for scale in self.scales]
        numbers = torch.cat([self.statistics(picture) for picture in smaller], dim=1)
        logits: Tensor = self.layers(numbers)
        return logits.squeeze(1)

    def statistics(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b numbers"]:
        """One scale's Gram matrix and the roots of its co-occurrences, which tell rare pairs apart; only the
        halves above the diagonals. `x` in [0, 255].
        """
        features = self.stem(x / 127.5 - 1.0)
        with full_precision(x):
            grey = luma(x)
            levels = co_occurrences(grey, 0.0, 255.0)
            steps = co_occurrences(second_difference(grey), -_STEEPEST, _STEEPEST)
            pairs = torch.cat([levels, steps], dim=1)
            roots = (pairs + _RAREST).sqrt().flatten(2).index_select(2, self.upper_bins)
            return torch.cat(
                [gram(features.float()).flatten(1).index_select(1, self.upper), roots.flatten(1)], dim=1
            )


def build(scales: tuple[int, ...] = (1, 2, 4)) -> Texture:
    """A fresh network, PyTorch's initialisation; at scale 2 a picture has half its size.

    Raises `ValueError` for scales that are not positive.
    """
    scales = tuple(scales)
    if not scales or min(scales) < 1:
        raise ValueError(f"scales are positive numbers, not {scales}.")
    return Texture(scales)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; there is nothing to fold."""
    return model.eval()


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _upper(size: int) -> Tensor:
    """Places of the diagonal and what is right of it in a flattened square matrix."""
    return torch.ones(size, size).triu().flatten().nonzero().flatten()
