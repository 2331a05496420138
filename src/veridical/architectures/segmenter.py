"""A map of what is fake in a picture, and a verdict on the whole that is read from the map alone.

Enze Xie, Wenhai Wang, Zhiding Yu, Anima Anandkumar, Jose M. Alvarez, Ping Luo: SegFormer: Simple and Efficient
Design for Semantic Segmentation with Transformers, NeurIPS 2021, https://arxiv.org/abs/2105.15203. The default
is MiT-b0 with a 256-wide decoder. Written from the published definition.

We differ in three ways. There is one class, fake, with a sigmoid. The logit of a whole picture is a weighted
sum of two numbers of the map, its mean and its log-mean-exp (which follows the strongest places), so that the
network cannot know that a picture is fake without saying where. And it is trained on pictures with a pasted
region as well as on whole ones: with masks that are all real or all fake, a map is a classifier in disguise.

Pixels enter as uint8; ImageNet's normalisation happens inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from veridical.architectures._stochastic_depth import DropPath, shares

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Published for MiT-b0; the stages' other settings are arguments.
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)
_EXPANSION = 4
_DROP_PATH = 0.1
_DECODER_DROPOUT = 0.1

_EPSILON = 1e-6

# Reals of a training batch that get a region of one of its fakes.
_PASTED = 0.25

HEAD = ("decoder", "verdict")


def paste_region(
    real: UInt8[Tensor, "h w 3"],
    fake: UInt8[Tensor, "h w 3"],
    generator: torch.Generator,
    *,
    least: float = 0.25,
    most: float = 0.75,
) -> tuple[UInt8[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
    """The real picture with one rectangle of the fake one, in its own place, and the mask of the rectangle.

    Its sides are drawn between `least` and `most` of the picture's. It begins and ends at even pixels, so the
    phase of the sampling grid is that of an untouched fake.
    """
    rows, columns = (_even_range(side, generator, least, most) for side in real.shape[:2])
    mask = torch.zeros(real.shape[:2], dtype=torch.bool, device=real.device)
    mask[rows, columns] = True
    return torch.where(mask[..., None], fake, real), mask


def with_pasted_regions(
    pixels: UInt8[Tensor, "b h w 3"], labels: Float[Tensor, " b"], generator: torch.Generator
) -> tuple[UInt8[Tensor, "b h w 3"], Float[Tensor, " b"], Bool[Tensor, "b h w"]]:
    """The batch with a region of a fake pasted into some of its reals, which are fake then; and the masks."""
    masks = (labels == 1)[:, None, None].repeat(1, *pixels.shape[1:3])
    pasted, changed = pixels.clone(), labels.clone()
    (fakes,) = torch.where(labels == 1)
    for real in torch.where(labels == 0)[0].tolist():
        if len(fakes) and torch.rand((), generator=generator).item() < _PASTED:
            fake = fakes[int(torch.randint(len(fakes), (), generator=generator))]
            pasted[real], masks[real] = paste_region(pixels[real], pixels[fake], generator)
            changed[real] = 1.0
    return pasted, changed, masks


def fake_iou(
    maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"], threshold: float = 0.5
) -> Float[Tensor, " b"]:
    """Intersection over union of what is called fake with what is fake; 1 where neither says fake.

    >>> maps = torch.tensor([[[0.9, 0.8, 0.2, 0.1]]])
    >>> fake_iou(maps, torch.tensor([[[False, True, True, True]]])).tolist()
    [0.25]
    """
    called = maps > threshold
    both, either = (called & masks).sum(dim=(1, 2)), (called | masks).sum(dim=(1, 2))
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))


class PatchEmbedding(nn.Module):
    """Overlapping patches to tokens: a strided convolution and a layer norm; channels stay second."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """1/stride of the size, rounded up."""
        return _as_tokens(self.norm, self.conv(x))


class Attention(nn.Module):
    """Attention whose keys and values come from a picture `reduction` times smaller."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.reduce: PatchReduction | None = PatchReduction(width, reduction) if reduction > 1 else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Every place looks at the whole picture."""
        height, width = x.shape[2:]
        seen = x if self.reduce is None else self.reduce(x)
        query = self._by_head(self.query(_tokens(x)))
        key, value = (self._by_head(t) for t in self.key_value(_tokens(seen)).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return _picture(self.out(mixed), height, width)

    def _by_head(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n d"]:
        return x.reshape(*x.shape[:2], self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class PatchReduction(nn.Module):
    """A picture `reduction` times smaller, by a convolution without overlap and a layer norm."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, reduction, reduction)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Rows and columns that do not fill a patch are not seen by it."""
        return _as_tokens(self.norm, self.conv(x))


class MixFFN(nn.Module):
    """Two linear layers with a depthwise 3x3 convolution between, which tells places apart."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = _EXPANSION * width
        self.expand = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of the same shape."""
        return _as_tokens(self.contract, F.gelu(self.depthwise(_as_tokens(self.expand, x))))


class SegformerBlock(nn.Module):
    """Attention and MixFFN, each after a layer norm and beside a skip."""

    def __init__(self, width: int, heads: int, reduction: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attention = Attention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mix = MixFFN(width)
        self.drop = DropPath(drop)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of the same shape."""
        x = x + self.drop(self.attention(_as_tokens(self.norm1, x)))
        y: Tensor = x + self.drop(self.mix(_as_tokens(self.norm2, x)))
        return y


class Stage(nn.Module):
    """Patches, blocks, and a last layer norm."""

    def __init__(
        self, channels: int, width: int, *, first: bool, heads: int, reduction: int, drops: Sequence[float]
    ) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.patches = PatchEmbedding(channels, width, kernel, stride)
        self.blocks = nn.Sequential(*(SegformerBlock(width, heads, reduction, drop) for drop in drops))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """A quarter of the size in the first stage, half in the others."""
        return _as_tokens(self.norm, self.blocks(self.patches(x)))


class MapDecoder(nn.Module):
    """All stages brought to one width and the first one's size, fused, and one logit for each place."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(channels, width) for channels in widths)
        self.fuse = nn.Conv2d(len(widths) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout2d(_DECODER_DROPOUT)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, stages: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b 1 h w"]:
        """Logits of fake at the size of the first stage."""
        size = stages[0].shape[2:]
        projected = [_as_tokens(layer, x) for layer, x in zip(self.project, stages, strict=True)]
        same_size = [projected[0], *(_resized(x, size) for x in projected[1:])]
        fused = F.relu(self.norm(self.fuse(torch.cat(same_size[::-1], dim=1))))
        y: Tensor = self.last(self.drop(fused))
        return y


class Outputs(NamedTuple):
    """Logits of whole pictures, and the map: the probability of fake of each pixel."""

    logits: Float[Tensor, " b"]
    map: Float[Tensor, "b h w"]


@dataclass(frozen=True)
class SegmenterLosses:
    """Cross-entropy of whole pictures and of pixels, scalars; `total` is their plain sum."""

    pictures: Tensor
    pixels: Tensor

    @property
    def total(self) -> Tensor:
        """The sum that is minimised."""
        return self.pictures + self.pixels


class Segmenter(nn.Module):
    """3,714,404 parameters by default: 3,319,392 of MiT-b0, 395,009 of the decoder, 3 of the verdict."""

    mean: Tensor
    std: Tensor

    def __init__(self, widths: Sequence[int], depths: Sequence[int], decoder_width: int) -> None:
        super().__init__()
        drops = shares(_DROP_PATH, sum(depths))
        self.stages = nn.ModuleList(
            Stage(
                channels,
                width,
                first=place == 0,
                heads=_HEADS[place],
                reduction=_REDUCTIONS[place],
                drops=drops[sum(depths[:place]) : sum(depths[: place + 1])],
            )
            for place, (channels, width) in enumerate(zip((3, *widths), widths, strict=False))
        )
        self.decoder = MapDecoder(widths, decoder_width)
        self.verdict = nn.Linear(2, 1)
        self.register_buffer("mean", 255.0 * torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(IMAGENET_STD).reshape(3, 1, 1), persistent=False)
        self._initialise()

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake. At least 32 x 32 pixels."""
        return self._judge(self._quarter_map(pixels))

    def maps(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b h w"]:
        """The probability of fake of each pixel, in [0, 1]."""
        return self.outputs(pixels).map

    def outputs(self, pixels: UInt8[Tensor, "b h w 3"]) -> Outputs:
        """Both, in one pass."""
        quarter = self._quarter_map(pixels)
        full = _resized(quarter, pixels.shape[1:3]).squeeze(1)
        return Outputs(logits=self._judge(quarter), map=full.sigmoid())

    def training_loss(
        self,
        pixels: UInt8[Tensor, "b h w 3"],
        labels: Float[Tensor, " b"],
        masks: Bool[Tensor, "b h w"],
    ) -> SegmenterLosses:
        """The losses of a batch; masks are `True` where a pixel is fake.

        The mask of an untouched picture is its label everywhere; a picture with a pasted region is fake.
        """
        quarter = self._quarter_map(pixels).float()
        full = _resized(quarter, pixels.shape[1:3]).squeeze(1)
        return SegmenterLosses(
            pictures=F.binary_cross_entropy_with_logits(self._judge(quarter).float(), labels),
            pixels=F.binary_cross_entropy_with_logits(full, masks.to(full.dtype)),
        )

    def _quarter_map(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 1 h2 w2"]:
        x = (pixels.permute(0, 3, 1, 2).to(self.verdict.weight.dtype) - self.mean) / self.std
        stages = []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        logits: Tensor = self.decoder(stages)
        return logits

    def _judge(self, quarter_map: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
        places = quarter_map.flatten(1)
        # As the mean of differences to the peak: the logarithm of the number of places would be frozen in ONNX.
        peak = places.amax(dim=1, keepdim=True)
        strongest = (places - peak).exp().mean(dim=1).log() + peak.squeeze(1)
        logits: Tensor = self.verdict(torch.stack([places.mean(dim=1), strongest], dim=1))
        return logits.squeeze(1)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.decoder.last.weight, std=0.01)  # by the rule above one output would start large
        # A map that says fake everywhere, or strongly somewhere, means fake, from the first step on.
        nn.init.constant_(self.verdict.weight, 0.5)


class ForExport(nn.Module):
    """`Segmenter` with both outputs, named as a bundle names them."""

    output_names = ("logits", "map")

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Outputs:
        """Logits and map."""
        return self.model.outputs(pixels)


def build(
    widths: Sequence[int] = (32, 64, 160, 256),
    depths: Sequence[int] = (2, 2, 2, 2),
    decoder_width: int = 256,
) -> Segmenter:
    """A fresh network; each of the four widths is a multiple of its number of heads, 1, 2, 5 and 8."""
    return Segmenter(widths, depths, decoder_width)


def training_loss(
    model: nn.Module,
    pixels: UInt8[Tensor, "b h w 3"],
    labels: Float[Tensor, " b"],
    methods: Int[Tensor, " b"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Whole-image labels and pasted regions; `methods` are not read."""
    assert isinstance(model, Segmenter)
    pasted, changed, masks = with_pasted_regions(pixels, labels, generator)
    return model.training_loss(pasted, changed, masks).total


def for_export(model: nn.Module) -> nn.Module:
    """The network with its two outputs, `logits` and `map`."""
    assert isinstance(model, Segmenter)
    return ForExport(model).eval()


def _tokens(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    return x.flatten(2).transpose(1, 2)


def _picture(tokens: Float[Tensor, "b n c"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], height, width)


def _as_tokens(layer: nn.Module, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
    """A layer that works on the last axis, applied to the channels of each place."""
    y: Tensor = layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return y


def _resized(x: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, size=(size[0], size[1]), mode="bilinear", align_corners=False)


def _even_range(side: int, generator: torch.Generator, least: float, most: float) -> slice:
    """Even start and length along one side, each place alike."""
    share = least + (most - least) * torch.rand((), generator=generator).item()
    length = max(2, int(share * side) // 2 * 2)
    start = 2 * int(torch.randint(0, (side - length) // 2 + 1, (), generator=generator))
    return slice(start, start + length)
