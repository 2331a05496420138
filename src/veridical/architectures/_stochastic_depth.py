"""Stochastic depth, for transformers that add their branches to a skip."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves a branch out for a random share of the pictures while training, and scales the rest up.

    Gao Huang, Yu Sun, Zhuang Liu, Daniel Sedra, Kilian Q. Weinberger: Deep Networks with Stochastic Depth,
    ECCV 2016, https://arxiv.org/abs/1603.09382.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The branch itself in evaluation mode; the first axis is the batch."""
        if not self.training or self.share == 0.0:
            return x
        kept = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), device=x.device) >= self.share
        return x * kept / (1.0 - self.share)


def shares(most: float, blocks: int) -> list[float]:
    """The share of each block: from 0 in the first to `most` in the last, in equal steps.

    >>> shares(0.1, 3)
    [0.0, 0.05, 0.1]
    """
    return [most * place / max(1, blocks - 1) for place in range(blocks)]
