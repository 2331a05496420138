"""Xception: depthwise separable convolutions with residual connections, a baseline and a trunk for others.

François Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017,
https://arxiv.org/abs/1610.02357; as a detector of manipulated faces in Andreas Rössler, Davide Cozzolino,
Luisa Verdoliva, Christian Riess, Justus Thies, Matthias Nießner: FaceForensics++, ICCV 2019,
https://arxiv.org/abs/1901.08971. Written from the published definition.

The classifier has two outputs, real and fake; our logit is their difference, of which the sigmoid is the
softmax's probability of fake. Pixels enter as uint8 and are scaled to [-1, 1] inside. `width` scales every
layer alike (1 is the published network).
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

# Channels of stem (two convolutions), entry flow (three blocks), middle flow, exit flow.
WIDTHS = (32, 64, 128, 256, 728, 1024, 1536, 2048)

MIDDLE_BLOCKS = 8


def scale_pixels(pixels: UInt8[Tensor, "b h w 3"], like: Tensor) -> Float[Tensor, "b 3 h w"]:
    """Pixels in [-1, 1], channels first, in the dtype of `like`.

    >>> import torch
    >>> scale_pixels(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8), torch.zeros(1)).flatten().tolist()
    [-1.0, -0.6..., 1.0]
    """
    return pixels.permute(0, 3, 1, 2).to(like.dtype) / 127.5 - 1.0


class SeparableConv2d(nn.Sequential):
    """A 3x3 convolution within each channel, then a 1x1 convolution across them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, out, 1, bias=False),
        )


class SeparableBlock(nn.Module):
    """Separable convolutions by `widths`, each after a ReLU but the first if not `relu_first`, and a skip.

    With `stride` 2 the block ends in a max-pool and its skip in a strided 1x1 convolution.
    """

    def __init__(self, widths: tuple[int, ...], stride: int, relu_first: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (channels, out) in enumerate(zip(widths, widths[1:], strict=False)):
            if place > 0 or relu_first:
                layers.append(nn.ReLU())
            layers += [SeparableConv2d(channels, out), nn.BatchNorm2d(out)]
        self.skip: nn.Module = nn.Identity()
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
            self.skip = nn.Sequential(
                nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False), nn.BatchNorm2d(widths[-1])
            )
        self.body = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The sum of both paths, without a last ReLU."""
        y: Tensor = self.body(x) + self.skip(x)
        return y


class Features(nn.Sequential):
    """Everything before the classifier, 20,806,952 parameters: pictures in [-1, 1] to 1/32 of the size.

    Ends in a batch norm; whoever reads it applies the ReLU. `channels` is the width of what comes out.
    """

    def __init__(self, width: float = 1.0) -> None:
        stem, stem2, entry1, entry2, middle, exit1, exit2, exit3 = (round(width * n) for n in WIDTHS)
        super().__init__(
            nn.Conv2d(3, stem, 3, stride=2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, stem2, 3, bias=False),
            nn.BatchNorm2d(stem2),
            nn.ReLU(),
            SeparableBlock((stem2, entry1, entry1), stride=2, relu_first=False),
            SeparableBlock((entry1, entry2, entry2), stride=2),
            SeparableBlock((entry2, middle, middle), stride=2),
            *(SeparableBlock((middle,) * 4, stride=1) for _ in range(MIDDLE_BLOCKS)),
            SeparableBlock((middle, middle, exit1), stride=2),
            SeparableConv2d(exit1, exit2),
            nn.BatchNorm2d(exit2),
            nn.ReLU(),
            SeparableConv2d(exit2, exit3),
            nn.BatchNorm2d(exit3),
        )
        self.channels = exit3


class Xception(nn.Module):
    """Features, global average and a linear classifier of two classes: 20,811,050 parameters."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.features = Features(width)
        self.classifier = nn.Linear(self.features.channels, 2)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        x = F.relu(self.features(scale_pixels(pixels, self.classifier.weight)))
        return fake_minus_real(self.classifier(x.mean(dim=(2, 3))))


def fake_minus_real(classes: Float[Tensor, "b 2"]) -> Float[Tensor, " b"]:
    """The logit of a softmax over (real, fake).

    >>> import torch
    >>> classes = torch.tensor([[0.3, 1.7]])
    >>> torch.allclose(fake_minus_real(classes).sigmoid(), classes.softmax(dim=1)[:, 1])
    True
    """
    return classes[:, 1] - classes[:, 0]


def build(width: float = 1.0) -> Xception:
    """A fresh network, PyTorch's default initialisation."""
    return Xception(width)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; ONNX Runtime folds its batch norms."""
    return model.eval()
