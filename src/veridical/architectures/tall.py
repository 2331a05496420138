"""TALL: four frames of a video laid out as one picture, judged by a Swin transformer.

Yuting Xu, Jian Liang, Gengyun Jia, Ziming Yang, Yanhao Zhang, Ran He: TALL: Thumbnail Layout for Deepfake
Video Detection, ICCV 2023, https://arxiv.org/abs/2307.07494. Ze Liu, Yutong Lin, Yue Cao, Han Hu, Yixuan Wei,
Zheng Zhang, Stephen Lin, Baining Guo: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
ICCV 2021, https://arxiv.org/abs/2103.14030. Written from the published definitions.

A clip of four frames becomes a picture of 2 x 2 frames (`layout`), is brought to 224 x 224 and judged whole, so
that windows in the middle see several frames at once. What enters the network is the laid-out picture, of any
size; how frames are chosen and clips averaged is the video detector's part (BitMind's judges the first clip).

We differ in two ways: the square that is masked at the same place in every frame while training is left out,
and the two outputs are read as one logit, their difference. The default is Swin-B with the published windows,
14, 14, 14 and 7; pixels enter as uint8, and ImageNet's normalisation happens inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from veridical.architectures._stochastic_depth import DropPath, shares
from veridical.architectures.xception import fake_minus_real

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# A clip is laid out in rows and columns of this many frames.
GRID = 2

_PATCH = 4
_DROP_PATH = 0.1
_MLP_RATIO = 4
_BLOCKED = -100.0  # an attention logit that leaves nothing, and no NaN where a row has nothing else


def layout(clips: UInt8[Tensor, "b 4 h w c"]) -> UInt8[Tensor, "b h2 w2 c"]:
    """The frames of each clip in reading order, two by two.

    >>> frames = torch.arange(4).reshape(1, 4, 1, 1, 1).expand(1, 4, 2, 2, 1)
    >>> layout(frames)[0, :, :, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    rows = [torch.cat([clips[:, GRID * row + column] for column in range(GRID)], dim=2) for row in range(GRID)]
    return torch.cat(rows, dim=1)


def split_clips(frames: UInt8[Tensor, "n h w c"]) -> UInt8[Tensor, "b 4 h w c"]:
    """A video in clips of four frames; the last one is filled up with black frames.

    >>> split_clips(torch.ones(5, 1, 1, 1, dtype=torch.uint8))[:, :, 0, 0, 0].tolist()
    [[1, 1, 1, 1], [1, 0, 0, 0]]
    """
    length = GRID * GRID
    black = frames.new_zeros(-len(frames) % length, *frames.shape[1:])
    return torch.cat([frames, black]).reshape(-1, length, *frames.shape[1:])


class WindowAttention(nn.Module):
    """Attention inside square windows, with a learned bias for each relative position.

    With a `shift` the picture is rolled first, so that windows cross the borders of the layer before; places
    that only the roll brought together do not see one another.
    """

    relative: Tensor
    blocked: Tensor | None

    def __init__(self, width: int, heads: int, *, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative", relative_positions(window), persistent=False)
        blocked = _BLOCKED * shift_mask(side, window, shift)[:, None] if shift else None
        self.register_buffer("blocked", blocked, persistent=False)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Features of the same shape."""
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = _windows(x, self.window)
        mixed = self._attend(windows)
        x = _from_windows(mixed, self.side, self.window)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x

    def _attend(self, windows: Float[Tensor, "b k n c"]) -> Float[Tensor, "b k n c"]:
        batch, count, places, width = windows.shape
        triple = self.query_key_value(windows).reshape(batch, count, places, 3, self.heads, width // self.heads)
        bias = self.bias[self.relative].permute(2, 0, 1)
        if self.blocked is not None:
            bias = bias + self.blocked
        query, key, value = triple.permute(3, 0, 1, 4, 2, 5)
        logits = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias
        mixed: Tensor = self.out((logits.softmax(dim=-1) @ value).transpose(2, 3).flatten(3))
        return mixed


class SwinBlock(nn.Module):
    """Window attention and two linear layers, each after a layer norm and beside a skip."""

    def __init__(self, width: int, heads: int, *, side: int, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side=side, window=window, shift=shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, _MLP_RATIO * width), nn.GELU(), nn.Linear(_MLP_RATIO * width, width)
        )
        self.drop = DropPath(drop)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Features of the same shape."""
        x = x + self.drop(self.attention(self.norm1(x)))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


class PatchMerging(nn.Module):
    """Each 2 x 2 places to one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        """Half the size; the four places in column order, as in published parameters."""
        four = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        y: Tensor = self.reduce(self.norm(torch.cat(four, dim=-1)))
        return y


class TALL(nn.Module):
    """Swin over a laid-out clip; `position` belongs to a place in the picture and `frame` to a frame."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, size: int, width: int, depths: Sequence[int], heads: Sequence[int], windows: Sequence[int]
    ) -> None:
        super().__init__()
        self.size = size
        side = size // _PATCH
        self.patches = nn.Conv2d(3, width, _PATCH, _PATCH)
        self.patch_norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.zeros(1, side, side, width))
        self.frame = nn.Parameter(torch.zeros(GRID, GRID, width))
        drops = iter(shares(_DROP_PATH, sum(depths)))
        layers: list[nn.Module] = []
        for stage, (depth, stage_heads, window) in enumerate(zip(depths, heads, windows, strict=True)):
            if stage > 0:
                layers.append(PatchMerging(width))
                side, width = side // 2, 2 * width
            for place in range(depth):
                # Every second block is shifted, where there is more than one window.
                shift = window // 2 if place % 2 and side > window else 0
                drop = next(drops)
                layers.append(SwinBlock(width, stage_heads, side=side, window=window, shift=shift, drop=drop))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)
        self.register_buffer("mean", 255.0 * torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(IMAGENET_STD).reshape(3, 1, 1), persistent=False)
        self._initialise()

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits of clips that are laid out already; above 0 is towards fake."""
        x = pixels.permute(0, 3, 1, 2).to(self.head.weight.dtype)
        x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        x = self.patch_norm(self.patches((x - self.mean) / self.std).permute(0, 2, 3, 1))
        per_frame = x.shape[1] // GRID
        frame = self.frame.repeat_interleave(per_frame, dim=0).repeat_interleave(per_frame, dim=1)
        x = self.layers(x + self.position + frame)
        return fake_minus_real(self.head(self.norm(x).mean(dim=(1, 2))))

    def _initialise(self) -> None:
        for parameter in (self.position, self.frame):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, WindowAttention):
                nn.init.trunc_normal_(module.bias, std=0.02)


def build(
    size: int = 224,
    width: int = 128,
    depths: Sequence[int] = (2, 2, 18, 2),
    heads: Sequence[int] = (4, 8, 16, 32),
    windows: Sequence[int] = (14, 14, 14, 7),
) -> TALL:
    """A fresh network. The side of each stage, `size` / 4 and then halved, is a multiple of its window."""
    return TALL(size, width, depths, heads, windows)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself: nothing in it can be folded."""
    return model.eval()


def relative_positions(window: int) -> Int[Tensor, "n n"]:
    """For each pair of places of a window, the row of the bias table for how the second lies to the first.

    >>> relative_positions(2).tolist()
    [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    down = rows.flatten()[:, None] - rows.flatten() + window - 1
    right = columns.flatten()[:, None] - columns.flatten() + window - 1
    return down * (2 * window - 1) + right


def shift_mask(side: int, window: int, shift: int) -> Bool[Tensor, "k n n"]:
    """For each window of the rolled picture, which pairs of places did not lie together before the roll."""
    region = torch.zeros(side, dtype=torch.int64)
    region[side - window : side - shift] = 1
    region[side - shift :] = 2
    regions = (3 * region[:, None] + region)[None, :, :, None]
    windows = _windows(regions, window)[0, :, :, 0]
    return windows[:, None, :] != windows[:, :, None]


def _windows(x: Tensor, window: int) -> Tensor:
    """(b, h, w, c) in windows: (b, windows, window * window, c)."""
    batch, height, width, channels = x.shape
    split = x.reshape(batch, height // window, window, width // window, window, channels)
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _from_windows(windows: Tensor, side: int, window: int) -> Tensor:
    """The inverse of `_windows` on a square picture."""
    per_side = side // window
    split = windows.reshape(-1, per_side, per_side, window, window, windows.shape[-1])
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)
