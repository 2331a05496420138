"""A CNN on inverted, then over-saturated colours.

After a published repository about pictures of CIFAKE and of FLUX, which has no paper and no licence; written
from the published definition. Each picture x in [0, 1] becomes 1 - x and is then saturated: f x + (1 - f)
grey, clipped to [0, 1], with grey = 0.2989 R + 0.587 G + 0.114 B and f = 8, or f = 500, which leaves little
but the eight corners of the colour cube. Two networks: `small` for 32 x 32 pixels, `large` for pictures of
any size.

The three weights of grey sum to 0.9999, so a large factor moves neutral grey (0.5 becomes 0.524933 at f = 500);
trained parameters depend on that, so it stays.

We differ in three ways: pixels enter as uint8; fake is the positive class (the publication labels real as 1, as
image folders do by the alphabet, and names its pictures the other way round); the logit is given, not its
sigmoid. The publication resizes for the large network to 720 x 1280 whatever the shape; here it takes any size.
The small one resizes what is not 32 x 32, though cards already ask for that.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures._pixels import resized

GREY = (0.2989, 0.587, 0.114)

SMALL_SIZE = 32


def invert(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The negative of a picture in [0, 1].

    >>> import torch
    >>> [round(v, 4) for v in invert(torch.tensor([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1)).flatten().tolist()]
    [0.8, 0.6, 0.4]
    """
    return 1.0 - x


def saturate(x: Float[Tensor, "b 3 h w"], factor: float) -> Float[Tensor, "b 3 h w"]:
    """Colours `factor` times as far from grey, clipped to [0, 1]; 0 gives grey, 1 the picture itself.

    >>> import torch
    >>> inverted = torch.tensor([0.8, 0.6, 0.4]).reshape(1, 3, 1, 1)
    >>> [round(v, 5) for v in saturate(inverted, 8).flatten().tolist()]
    [1.0, 0.34156, 0.0]
    """
    red, green, blue = x.unbind(1)
    grey = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    return (factor * x + (1.0 - factor) * grey[:, None]).clamp(0.0, 1.0)


class ColourCNN(nn.Module):
    """Invert, saturate, and one of the two networks.

    634,305 parameters if small; 2,389,313 if large with a 3x3 stem, 2,393,153 with a 7x7 one.
    """

    def __init__(self, saturation: float, network: Literal["small", "large"], stem_kernel: int) -> None:
        super().__init__()
        self.saturation = saturation
        self.size = SMALL_SIZE if network == "small" else None
        self.layers = _small() if network == "small" else _large(stem_kernel)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake. The large network needs at least 32 pixels on each side."""
        x = pixels.permute(0, 3, 1, 2).to(next(self.parameters()).dtype) / 255.0
        if self.size is not None:
            x = resized(x, self.size)
        logits: Tensor = self.layers(saturate(invert(x), self.saturation))
        return logits.squeeze(1)


def build(
    saturation: float = 8.0, network: Literal["small", "large"] = "small", stem_kernel: int = 7
) -> ColourCNN:
    """A fresh network, PyTorch's initialisation.

    `stem_kernel` is the large network's first kernel: 7 as in the publication's code, 3 as in its README.
    Raises `ValueError` for a network that is neither small nor large.
    """
    if network not in ("small", "large"):
        raise ValueError(f"network is 'small' or 'large', not {network!r}.")
    return ColourCNN(saturation, network, stem_kernel)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; there is nothing to fold."""
    return model.eval()


def _small() -> nn.Sequential:
    return nn.Sequential(
        *(_convolution(3, 32, 3), nn.MaxPool2d(2)),
        *(_convolution(32, 64, 3), nn.MaxPool2d(2)),
        *(_convolution(64, 128, 3), nn.MaxPool2d(2)),
        nn.Flatten(),
        *_classifier(128 * 4 * 4, 256, 64),
    )


def _large(stem_kernel: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 32, stem_kernel, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        *(_convolution(32, 64, 5), nn.MaxPool2d(3, 2, padding=1)),
        *(_convolution(64, 128, 3), nn.MaxPool2d(2)),
        *(_convolution(128, 256, 3), nn.MaxPool2d(2)),
        *(_convolution(256, 512, 3), nn.AdaptiveAvgPool2d(1)),
        nn.Flatten(),
        *_classifier(512, 1024, 256),
    )


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU())


def _classifier(inputs: int, first: int, second: int) -> list[nn.Module]:
    return [
        *(nn.Linear(inputs, first), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(second, 1),
    ]
