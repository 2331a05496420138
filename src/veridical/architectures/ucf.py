"""UCF: uncover what forgeries have in common, apart from content and from what each method does.

Zhiyuan Yan, Yong Zhang, Yanbo Fan, Baoyuan Wu: UCF: Uncovering Common Features for Generalizable Deepfake
Detection, ICCV 2023, https://arxiv.org/abs/2304.13949. AdaIN: Xun Huang, Serge Belongie: Arbitrary Style
Transfer in Real-time with Adaptive Instance Normalization, ICCV 2017, https://arxiv.org/abs/1703.06868.
Written from the published definitions.

Two Xceptions look at a picture, one for content and one for forgery. Forgery features are divided into a half
that names the method (*specific*) and a half that only says fake (*shared*). A decoder must rebuild the
picture from its content under the style of its own forgery features and of a picture of the other class, so
that neither encoder can do the other's work. Only forgery encoder, shared half and shared head judge: that is
what `forward` computes and what is exported.

We differ in two ways. Training and judging scale pixels the same, to [-1, 1], inside the network; BitMind's
training transform equalises contrast and uses ImageNet's scale, and its miner does neither. And the reals and
fakes of a batch may stand in any order and number. The classifiers of the two Xceptions are read by nothing;
they are kept because published parameters hold them. `width` scales every layer alike; 1 is the published
network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from veridical.architectures.precision import full_precision
from veridical.architectures.xception import Xception, fake_minus_real, scale_pixels

SPECIFIC_WEIGHT = 0.1
RECONSTRUCTION_WEIGHT = 0.3
CONTRASTIVE_WEIGHT = 0.05
MARGIN = 3.0
SHUFFLE_PROBABILITY = 0.7

# All but the two Xceptions.
HEAD = ("shared_half", "specific_half", "shared_head", "specific_head", "decoder")


def adain(x: Float[Tensor, "b c h w"], style: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h w"]:
    """`x` with the mean and standard deviation of `style`, in each picture and channel.

    >>> x, style = torch.tensor([1.0, 3.0]), torch.tensor([10.0, 14.0])
    >>> adain(x.reshape(1, 1, 1, 2), style.reshape(1, 1, 1, 2)).flatten().round(decimals=4).tolist()
    [10.0, 14.0]
    """
    mean, deviation = _statistics(x)
    style_mean, style_deviation = _statistics(style)
    return (x - mean) / deviation * style_deviation + style_mean


def shuffled_within(groups: Float[Tensor, " b"] | Int[Tensor, " b"], generator: torch.Generator) -> Tensor:
    """A random permutation of the places, int64 (b,), that moves each to a place of the same group.

    >>> groups = torch.tensor([1, 0, 1, 0])
    >>> places = shuffled_within(groups, torch.Generator().manual_seed(0))
    >>> sorted(places.tolist()), groups[places].tolist()
    ([0, 1, 2, 3], [1, 0, 1, 0])
    """
    places = torch.empty(len(groups), dtype=torch.int64, device=groups.device)
    for group in torch.unique(groups):
        (here,) = torch.where(groups == group)
        order = torch.randperm(len(here), generator=generator, device=generator.device)
        places[here] = here[order.to(here.device)]
    return places


def partners(labels: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
    """For each picture the place of one of the other class: the i-th real has the i-th fake, and so round.

    >>> partners(torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0])).tolist()
    [1, 0, 3, 2, 1]
    """
    (reals,), (fakes,) = torch.where(labels == 0), torch.where(labels == 1)
    if len(reals) == 0 or len(fakes) == 0:
        raise ValueError("a batch needs at least one real and one fake picture")
    places = torch.empty_like(labels, dtype=torch.int64)
    places[reals] = fakes[torch.arange(len(reals), device=labels.device) % len(fakes)]
    places[fakes] = reals[torch.arange(len(fakes), device=labels.device) % len(reals)]
    return places


def reconstruction_loss(
    decoded: Float[Tensor, "b 3 h w"], pictures: Float[Tensor, "b 3 h w"], labels: Float[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Mean absolute difference over the reals plus that over the fakes."""
    distances = (decoded - pictures).abs().mean(dim=(1, 2, 3))
    return distances[labels == 0].mean() + distances[labels == 1].mean()


def triplet_loss(
    anchor: Float[Tensor, "b n"], positive: Float[Tensor, "b n"], negative: Float[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """The mean by which negatives are nearer than `MARGIN` beyond the positives; Euclidean.

    >>> anchor, positive, negative = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.5]])
    >>> round(triplet_loss(anchor, positive, negative).item(), 3)
    2.5
    """
    near, far = F.pairwise_distance(anchor, positive), F.pairwise_distance(anchor, negative)
    return (near - far + MARGIN).clamp(min=0).mean()


def contrastive_loss(
    shared: Float[Tensor, "b n"],
    specific: Float[Tensor, "b n"],
    *,
    labels: Float[Tensor, " b"],
    methods: Int[Tensor, " b"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Triplets of the reals' shared, the fakes' shared and the fakes' specific features, summed.

    Positives are drawn from the same class (shared) or the same method (specific); the negative is the
    `partners` picture.
    """
    reals, fakes, others = labels == 0, labels == 1, partners(labels)
    same_class, same_method = shuffled_within(labels, generator), shuffled_within(methods, generator)
    return (
        triplet_loss(shared[reals], shared[same_class][reals], shared[others][reals])
        + triplet_loss(shared[fakes], shared[same_class][fakes], shared[others][fakes])
        + triplet_loss(specific[fakes], specific[same_method][fakes], specific[others][fakes])
    )


@dataclass(frozen=True)
class UCFLosses:
    """The five losses of a batch, unweighted scalars; `total` is what is minimised."""

    shared: Tensor
    specific: Tensor
    self_reconstruction: Tensor
    cross_reconstruction: Tensor
    contrastive: Tensor

    @property
    def total(self) -> Tensor:
        """The published weighted sum."""
        return (
            self.shared
            + SPECIFIC_WEIGHT * self.specific
            + RECONSTRUCTION_WEIGHT * (self.self_reconstruction + self.cross_reconstruction)
            + CONTRASTIVE_WEIGHT * self.contrastive
        )


class Encoder(nn.Module):
    """Xception's features brought to `channels`: 1/32 of the picture's size."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        self.xception = Xception(width)
        features = self.xception.features.channels
        self.adjust = nn.Sequential(nn.Conv2d(features, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Features of a picture in [-1, 1]."""
        y: Tensor = self.adjust(self.xception.features(x))
        return y


class ClassHead(nn.Module):
    """Classes from the average of a half; the dropout stands after the last layer, as published."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.LeakyReLU(), nn.Linear(2 * channels, classes), nn.Dropout(0.2)
        )

    def forward(self, half: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits of each class."""
        y: Tensor = self.layers(half.mean(dim=(2, 3)))
        return y


class PictureDecoder(nn.Module):
    """A picture in [-1, 1] from content and style: three steps of AdaIN, doubling and two convolutions.

    The style passes through the same convolutions. The last step is from a quarter of the size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, channels // 2, channels // 4, channels // 8]
        self.steps = nn.ModuleList(_up(wide, narrow) for wide, narrow in zip(widths, widths[1:], strict=False))
        self.last = nn.Conv2d(widths[-1], 3, 1)

    def forward(
        self, content: Float[Tensor, "b c h w"], style: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """32 times as high and wide."""
        for step in self.steps:
            content, style = step(adain(content, style)), step(style)
        picture = F.interpolate(self.last(content), scale_factor=4, mode="bilinear", align_corners=False)
        return picture.tanh()


class UCF(nn.Module):
    """Both encoders, both halves, both heads and the decoder: 46,838,430 parameters with 5 methods.

    `methods` counts real as one: it is the number of sets of fakes plus one.
    """

    def __init__(self, methods: int = 5, width: float = 1.0) -> None:
        super().__init__()
        channels = round(512 * width)
        half = channels // 2
        self.methods = methods
        self.forgery = Encoder(channels, width)
        self.content = Encoder(channels, width)
        self.shared_half = _half(channels)
        self.specific_half = _half(channels)
        self.shared_head = ClassHead(half, 2)
        self.specific_head = ClassHead(half, methods)
        self.decoder = PictureDecoder(channels)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        return _score(pixels, self.forgery, self.shared_half, self.shared_head)

    def training_loss(
        self,
        pixels: UInt8[Tensor, "b h w 3"],
        labels: Float[Tensor, " b"],
        methods: Int[Tensor, " b"],
        generator: torch.Generator,
    ) -> UCFLosses:
        """The losses of a batch with both classes; height and width are multiples of 32, at least 64.

        `labels` are 0 (real) or 1 (fake); `methods` are 0 for reals and the set's number from 1 on for fakes.
        `generator` draws the shuffles; dropout follows torch's global seed.
        """
        x = scale_pixels(pixels, self.decoder.last.weight)
        forgery, content = self.forgery(x).float(), self.content(x).float()
        with full_precision(x):
            return self._losses(x, forgery, content, labels, methods, generator)

    def _losses(
        self,
        x: Float[Tensor, "b 3 h w"],
        forgery: Float[Tensor, "b c h2 w2"],
        content: Float[Tensor, "b c h2 w2"],
        labels: Float[Tensor, " b"],
        methods: Int[Tensor, " b"],
        generator: torch.Generator,
    ) -> UCFLosses:
        specific, shared = self.specific_half(forgery), self.shared_half(forgery)
        if torch.rand((), generator=generator, device=generator.device) < SHUFFLE_PROBABILITY:
            shared = shared[shuffled_within(labels, generator)]
        style = torch.cat([specific, shared], dim=1)
        return UCFLosses(
            shared=F.cross_entropy(self.shared_head(shared), labels.long()),
            specific=F.cross_entropy(self.specific_head(specific), methods),
            self_reconstruction=reconstruction_loss(self.decoder(content, style), x, labels),
            cross_reconstruction=reconstruction_loss(self.decoder(content, style[partners(labels)]), x, labels),
            contrastive=contrastive_loss(
                shared.mean(dim=(2, 3)),
                specific.mean(dim=(2, 3)),
                labels=labels,
                methods=methods,
                generator=generator,
            ),
        )


class Scorer(nn.Module):
    """The part of `UCF` that judges; less than half of its parameters."""

    def __init__(self, model: UCF) -> None:
        super().__init__()
        self.forgery, self.shared_half, self.shared_head = model.forgery, model.shared_half, model.shared_head

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits of `UCF`."""
        return _score(pixels, self.forgery, self.shared_half, self.shared_head)


def build(methods: int = 5, width: float = 1.0) -> UCF:
    """A fresh network, PyTorch's default initialisation (published: from ImageNet parameters)."""
    return UCF(methods, width)


def training_loss(
    model: nn.Module,
    pixels: UInt8[Tensor, "b h w 3"],
    labels: Float[Tensor, " b"],
    methods: Int[Tensor, " b"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """The published weighted sum; raises `ValueError` if there are more generators than `build` was told of."""
    assert isinstance(model, UCF)
    if methods.max() >= model.methods:
        raise ValueError(
            f"methods={model.methods} counts real and {model.methods - 1} generators, but there are more"
        )
    return model.training_loss(pixels, labels, methods, generator).total


def for_export(model: nn.Module) -> nn.Module:
    """The forgery encoder, the shared half and its head."""
    assert isinstance(model, UCF)
    return Scorer(model).eval()


def _score(
    pixels: UInt8[Tensor, "b h w 3"], encoder: Encoder, half: nn.Module, head: ClassHead
) -> Float[Tensor, " b"]:
    classes: Tensor = head(half(encoder(scale_pixels(pixels, next(encoder.parameters())))))
    return fake_minus_real(classes)


def _half(channels: int) -> nn.Sequential:
    """1x1 convolutions to half the channels."""
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(channels, half, 1),
        nn.LeakyReLU(),
        nn.Conv2d(half, half, 1),
        nn.LeakyReLU(),
        nn.Conv2d(half, half, 1),
    )


def _up(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Dropout(0.3),
        nn.Conv2d(channels, out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1),
        nn.ReLU(),
    )


def _statistics(x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (b, c, 1, 1); the small constant keeps flat channels finite."""
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    return mean, torch.sqrt(variance + 1e-5)
