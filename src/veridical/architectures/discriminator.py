"""The discriminator of a DCGAN as a detector, and adversarial fine-tuning of any detector.

Alec Radford, Luke Metz, Soumith Chintala: Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, ICLR 2016, https://arxiv.org/abs/1511.06434. Written from the published
definition: strided 4x4 convolutions, LeakyReLU 0.2, batch norms but in the first and last layer, normal
initialisation with standard deviation 0.02; on 64-pixel pictures, 2,765,568 parameters.

We differ in three ways: the positive class is fake, a picture larger than 64 pixels is judged by the mean of
its logits, one at each 16 pixels, and pixels enter as uint8, scaled to [-1, 1] inside.

`adversarial_step` plays one round of the game of Ian Goodfellow et al.: Generative Adversarial Nets, NeurIPS
2014, https://arxiv.org/abs/1406.2661, between any detector and a generator that changes real pictures, such
as an autoencoder. The generator must stay near the picture it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

# How much a mean difference of one full range counts against one nat of being called fake.
FIDELITY_WEIGHT = 10.0


class Discriminator(nn.Module):
    """Four convolutions that halve the size, then logits from 4 x 4 of what is left."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _halve(3, width),
            nn.LeakyReLU(0.2),
            *(
                layer
                for channels in (width, 2 * width, 4 * width)
                for layer in (_halve(channels, 2 * channels), nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2))
            ),
            nn.Conv2d(8 * width, 1, 4, bias=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"] | Float[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake. At least 64 x 64 pixels."""
        x = pixels.permute(0, 3, 1, 2).to(next(self.parameters()).dtype) / 127.5 - 1.0
        logits: Tensor = self.layers(x)
        return logits.mean(dim=(1, 2, 3))


def build(width: int = 64) -> Discriminator:
    """A fresh network; `width` is that of the first layer."""
    return Discriminator(width)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; ONNX Runtime folds its batch norms."""
    return model.eval()


@dataclass(frozen=True)
class AdversarialLosses:
    """The losses of both sides in a round, before its update."""

    detector: float
    generator: float


def adversarial_step(
    detector: nn.Module,
    generator: nn.Module,
    pixels: UInt8[Tensor, "b h w 3"],
    *,
    detector_optimiser: torch.optim.Optimizer,
    generator_optimiser: torch.optim.Optimizer,
) -> AdversarialLosses:
    """One update of the detector, then one of the generator, on a batch of real pictures.

    `detector` maps pixels to logits; `generator` maps pictures in [0, 1], (b, 3, h, w), to the same.
    Gradients of both are left at `None`.
    """
    ours = detector_loss(detector, pixels, fake_pixels(generator, pixels).detach())
    _update(detector_optimiser, ours)
    theirs = generator_loss(detector, pixels, fake_pixels(generator, pixels))
    _update(generator_optimiser, theirs)
    detector_optimiser.zero_grad(set_to_none=True)  # the generator's gradient passed through the detector
    return AdversarialLosses(detector=ours.item(), generator=theirs.item())


def fake_pixels(generator: nn.Module, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b h w 3"]:
    """The generator's pictures as whole numbers in 0..255, with a gradient as if nothing had been rounded.

    Fractions, or numbers outside, would tell fakes from reals by themselves.
    """
    levels = 255.0 * generator(pixels.permute(0, 3, 1, 2).float() / 255.0).permute(0, 2, 3, 1)
    pixel_values: Tensor = levels + (levels.clamp(0.0, 255.0).round() - levels).detach()
    return pixel_values


def detector_loss(
    detector: nn.Module, real: UInt8[Tensor, "b h w 3"], fake: Float[Tensor, "b h w 3"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy over both halves, each in a batch of its own, as DCGANs are trained."""
    on_real, on_fake = detector(real), detector(fake)
    return (F.softplus(on_real).mean() + F.softplus(-on_fake).mean()) / 2


def generator_loss(
    detector: nn.Module, real: UInt8[Tensor, "b h w 3"], fake: Float[Tensor, "b h w 3"]
) -> Float[Tensor, ""]:
    """Cross-entropy of being called real, plus `FIDELITY_WEIGHT` times the mean difference in [0, 1]."""
    return F.softplus(detector(fake)).mean() + FIDELITY_WEIGHT * F.l1_loss(fake, real.float()) / 255.0


def _halve(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 4, stride=2, padding=1, bias=False)


def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call] # torch's own
    optimiser.step()
