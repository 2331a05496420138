"""NPR: neighbouring pixel relationships.

Chuangchuang Tan, Yao Zhao, Shikui Wei, Guanghua Gu, Ping Liu, Yunchao Wei: Rethinking the Up-Sampling
Operations in CNN-based Generative Network for Generalizable Deepfake Detection, CVPR 2024,
https://arxiv.org/abs/2312.10461. Written from the published definition.

Generators up-sample. What is left when each 2x2 block is compared with its own top-left pixel shows how the
block was filled, so only that residual is looked at, by the first half of a ResNet-50. The 2x2 grid has a
phase: a crop that starts at an odd pixel is another picture to this network.

We differ in two ways: an odd last row or column is dropped inside (the original fails on it), and pixels
enter as uint8. `normalise=False` gives BitMind's variant, which feeds [0, 1] without the ImageNet scale.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

# The mean of ImageNet's normalisation cancels in the residual; only the scale is left.
IMAGENET_STD = (0.229, 0.224, 0.225)

# The authors multiply the residual by 2/3 before the first convolution; parameters depend on it.
RESIDUAL_SCALE = 2.0 / 3.0

HEAD = ("fc1",)


def npr_residual(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Each 2x2 block minus its top-left pixel; an odd last row or column is dropped.

    >>> npr_residual(torch.arange(16.0).reshape(1, 1, 4, 4))[0, 0].int().tolist()
    [[0, 1, 0, 1], [4, 5, 4, 5], [0, 1, 0, 1], [4, 5, 4, 5]]
    """
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    top_left = x[..., ::2, ::2]
    return x - top_left.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


class Bottleneck(nn.Module):
    """ResNet-50's block: 1x1, 3x3 (which carries the stride), 1x1 to four times the width, and a skip."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The block's output, after the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))


class NPR(nn.Module):
    """The residual and ResNet-50 up to its second stage: 1,437,761 parameters."""

    scale: Tensor

    def __init__(self, normalise: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.fc1 = nn.Linear(512, 1)
        std = torch.tensor(IMAGENET_STD) if normalise else torch.ones(3)
        scale = RESIDUAL_SCALE / (255.0 * std)
        self.register_buffer("scale", scale.reshape(1, 3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        x = pixels.permute(0, 3, 1, 2).to(self.fc1.weight.dtype)
        stem = F.relu(self.bn1(self.conv1(npr_residual(x) * self.scale)))
        return _trunk(stem, self.layer1, self.layer2, self.fc1)


class FoldedNPR(nn.Module):
    """`NPR` in evaluation mode with scale, residual, first convolution and batch norm as one convolution.

    Row 2u+a of the residual, a in {-1, 0, 1}, is made of rows 2u-2 .. 2u+1 of the picture, so a 3x3
    convolution of stride 2 on the residual is a 4x4 one of stride 2 on raw pixels, padded by 2 at the top and
    left. It ends at the last even row and column by itself, so odd sizes are trimmed without an operator.
    """

    def __init__(self, model: NPR) -> None:
        super().__init__()
        kernel, bias = _fold_stem(model)
        self.stem = nn.Conv2d(3, 64, 4, stride=2)
        self.stem.weight = nn.Parameter(kernel)
        self.stem.bias = nn.Parameter(bias)
        self.layer1, self.layer2, self.fc1 = model.layer1, model.layer2, model.fc1

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits of `NPR`, up to rounding."""
        x = F.pad(pixels.permute(0, 3, 1, 2).to(torch.float32), (2, 0, 2, 0))
        return _trunk(F.relu(self.stem(x)), self.layer1, self.layer2, self.fc1)


def build(normalise: bool = True) -> NPR:
    """A fresh network, Kaiming fan-out initialisation."""
    return NPR(normalise=normalise)


def for_export(model: nn.Module) -> nn.Module:
    """The folded network."""
    assert isinstance(model, NPR)
    return FoldedNPR(model).eval()


def _trunk(
    stem: Float[Tensor, "b 64 h w"], layer1: nn.Module, layer2: nn.Module, head: nn.Module
) -> Float[Tensor, " b"]:
    x = F.max_pool2d(stem, kernel_size=3, stride=2, padding=1)
    logits: Tensor = head(layer2(layer1(x)).mean(dim=(2, 3)))
    return logits.squeeze(1)


@torch.no_grad()
def _fold_stem(model: NPR) -> tuple[Float[Tensor, "64 3 4 4"], Float[Tensor, " 64"]]:
    weight = model.conv1.weight * model.scale
    kernel = weight.new_zeros(64, 3, 4, 4)
    block_start = {-1: 0, 0: 2, 1: 2}  # residual row offset -> kernel row of its block's top-left pixel
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            tap = weight[:, :, a + 1, b + 1]
            kernel[:, :, a + 2, b + 2] += tap
            kernel[:, :, block_start[a], block_start[b]] -= tap
    norm = model.bn1
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return kernel * gain[:, None, None, None], norm.bias - norm.running_mean * gain
