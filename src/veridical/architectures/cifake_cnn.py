"""The CIFAKE CNN: a small network for pictures of 32 x 32 pixels, with or without style attention.

The data and the task: Jordan J. Bird, Ahmad Lotfi: CIFAKE: Image Classification and Explainable Identification
of AI-Generated Synthetic Images, IEEE Access 2024, https://arxiv.org/abs/2303.14126. The attention: HyunJae
Lee, Hyo-Eun Kim, Hyeonseob Nam: SRM: A Style-based Recalibration Module for Convolutional Neural Networks,
ICCV 2019, https://arxiv.org/abs/1903.10829 (not the steganalysis rich model of the same initials, which is in
`spectral`). The layers are those of a published study of CIFAKE: two 5x5 convolutions and three linear layers.

We differ in four ways. The sign: the study labels real as 1, here fake is the positive class, so the logit of a
checkpoint of the study has to be negated. The logit is given, not its sigmoid. The attention's 24 parameters
exist only when it is used (the study counts 61,265 either way). And a picture of another size than 32 x 32 is
resized inside, though cards already ask for 32 x 32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures._pixels import resized

SIZE = 32


class StyleRecalibration(nn.Module):
    """Each channel times a gate in (0, 1) that its own mean and (unbiased) standard deviation decide.

    4 parameters for each channel: two weights, and the scale and shift of a batch norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cfc = nn.Conv1d(channels, channels, kernel_size=2, groups=channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of the same shape."""
        style = torch.stack([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=2)
        gate = torch.sigmoid(self.bn(self.cfc(style)))
        return x * gate[..., None]


class CifakeCNN(nn.Module):
    """61,241 parameters, or 61,265 with style attention after the first pooling."""

    def __init__(self, style_attention: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.attention = StyleRecalibration(6) if style_attention else nn.Identity()
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 1)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        x = pixels.permute(0, 3, 1, 2).to(self.fc3.weight.dtype)
        return self.judge(resized(x, SIZE) / 127.5 - 1.0)

    def judge(self, x: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, " b"]:
        """Logits of pictures in [-1, 1], the study's own input."""
        x = self.attention(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        logits: Tensor = self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
        return logits.squeeze(1)


def build(style_attention: bool = False) -> CifakeCNN:
    """A fresh network, PyTorch's initialisation."""
    return CifakeCNN(style_attention)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; there is nothing to fold."""
    return model.eval()
