"""CLIP's image tower, and those of DINOv2 and SigLIP, which differ from it in a few places.

Alec Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021,
https://arxiv.org/abs/2103.00020. Maxime Oquab et al.: DINOv2: Learning Robust Visual Features without
Supervision, TMLR 2024, https://arxiv.org/abs/2304.07193. Xiaohua Zhai et al.: Sigmoid Loss for Language Image
Pre-Training, ICCV 2023, https://arxiv.org/abs/2303.15343. Written from the published definitions.

A tower is not a detector: it turns pixels into an embedding, on which `clip_linear` and `clip_mlp` put a head.
Its parameters are found by `veridical.training.backbones`, under the same names as in `SETTINGS`.

We differ in these ways: pixels enter as uint8 and are normalised inside; a picture of another size than the
tower's is cropped or repeated inside, at native resolution, never resized; an embedding can be taken from
middle blocks, and then the blocks above do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

Family = Literal["clip", "dinov2", "siglip"]

# Mean and standard deviation of the pixels each family was trained on, channels in [0, 1].
NORMALISATION: dict[Family, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

# Layer normalisation's epsilon.
EPSILON: dict[Family, float] = {"clip": 1e-5, "dinov2": 1e-6, "siglip": 1e-6}


@dataclass(frozen=True)
class TowerSettings:
    """A tower: `width` of its tokens, `depth` in blocks, attention `heads`; `patch` and `size` in pixels.

    `projection` is the length of CLIP's final embedding; the others have none.
    """

    family: Family
    width: int
    depth: int
    heads: int
    patch: int
    size: int
    projection: int = 0


SETTINGS: dict[str, TowerSettings] = {
    "clip-tiny": TowerSettings("clip", width=32, depth=3, heads=2, patch=32, size=224, projection=16),
    "clip-vit-b16": TowerSettings("clip", width=768, depth=12, heads=12, patch=16, size=224, projection=512),
    "clip-vit-l14": TowerSettings("clip", width=1024, depth=24, heads=16, patch=14, size=224, projection=768),
    "clip-vit-l14-336": TowerSettings(
        "clip", width=1024, depth=24, heads=16, patch=14, size=336, projection=768
    ),
    "dinov2-small": TowerSettings("dinov2", width=384, depth=12, heads=6, patch=14, size=224),
    "dinov2-base": TowerSettings("dinov2", width=768, depth=12, heads=12, patch=14, size=224),
    "dinov2-large": TowerSettings("dinov2", width=1024, depth=24, heads=16, patch=14, size=224),
    "siglip-b16": TowerSettings("siglip", width=768, depth=12, heads=12, patch=16, size=224),
    "siglip-l16-256": TowerSettings("siglip", width=1024, depth=24, heads=16, patch=16, size=256),
}


def tower(backbone: str, blocks: Sequence[int] = (), patches: Sequence[int] = ()) -> Tower:
    """A tower of that name with fresh parameters; raises `ValueError` for an unknown name or block."""
    if backbone not in SETTINGS:
        raise ValueError(f"there is no backbone {backbone!r}; known: {', '.join(SETTINGS)}.")
    return Tower(SETTINGS[backbone], blocks, patches)


def centre_view(pixels: UInt8[Tensor, "b h w 3"], size: int) -> UInt8[Tensor, "b s s 3"]:
    """The centre `size` x `size` pixels, from even offsets; a side that is too short is repeated.

    Repeated and not padded: a flat border is something no photograph has, while every patch of a repeated
    picture shows its own pixels; and training repeats small pictures too (`data.perturbations.tile`).

    >>> row = torch.arange(6, dtype=torch.uint8).reshape(1, 1, 6, 1).expand(1, 6, 6, 3)
    >>> centre_view(row, 2)[0, 0, :, 0].tolist(), centre_view(row, 8)[0, 0, :, 0].tolist()
    ([2, 3], [0, 1, 2, 3, 4, 5, 0, 1])
    """
    for dim in (1, 2):
        # A tensor and not a number, so that an exported graph reads the side of the picture it is given.
        side = torch.full((), pixels.shape[dim], dtype=torch.int64, device=pixels.device)
        start = (side - size).clamp(min=0) // 4 * 2
        places = (torch.arange(size, device=pixels.device) + start) % side
        pixels = pixels.index_select(dim, places)
    return pixels


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x * sigmoid(1.702 x), the approximation of GELU that OpenAI's CLIP was trained with.

    >>> [round(v, 6) for v in quick_gelu(torch.tensor([-1.0, 0.0, 1.0])).tolist()]
    [-0.154204, 0.0, 0.845796]
    """
    return x * torch.sigmoid(1.702 * x)


class TransformerBlock(nn.Module):
    """A pre-norm transformer block: self-attention and a perceptron of four times the width, with skips."""

    def __init__(self, settings: TowerSettings) -> None:
        super().__init__()
        width, epsilon = settings.width, EPSILON[settings.family]
        self.family, self.heads = settings.family, settings.heads
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The residual stream after this block."""
        x = self.attended(x)
        out: Tensor = x + self.fc2(self.hidden(x))
        return out

    def attended(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The residual stream in the middle of this block, before the perceptron."""
        y = self.norm1(x)
        out: Tensor = x + self.out(_attend(self.query(y), self.key(y), self.value(y), self.heads))
        return out

    def hidden(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n h"]:
        """The perceptron's hidden layer, from the middle of the block; `fc2` is all that comes after it."""
        return _activated(self.fc1(self.norm2(x)), self.family)


class AttentionPool(nn.Module):
    """SigLIP's pooling: one learned query attends to all tokens, then a perceptron with a skip."""

    def __init__(self, settings: TowerSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.probe = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width, EPSILON["siglip"])
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """The pooled token."""
        query = self.query(self.probe).expand(x.shape[0], -1, -1)
        y: Tensor = self.out(_attend(query, self.key(x), self.value(x), self.heads))
        pooled: Tensor = y + self.fc2(_activated(self.fc1(self.norm(y)), "siglip"))
        return pooled[:, 0]


class Tower(nn.Module):
    """Pixels to one embedding of length `features`.

    Without `blocks` it is the family's own: CLIP's projected class token, not normalised to unit length;
    DINOv2's mean over the patches after the last norm; SigLIP's attention pool. With `blocks` (counted from
    1) it is the class tokens of the residual stream after each of them, one behind the other, then the means
    over the patch tokens after each block of `patches`, and the tower ends at the last. SigLIP has no class
    token, so there it is the mean over the patches.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, settings: TowerSettings, blocks: Sequence[int] = (), patches: Sequence[int] = ()
    ) -> None:
        super().__init__()
        for numbers in (blocks, patches):
            if list(numbers) != sorted(set(numbers) & set(range(1, settings.depth + 1))):
                raise ValueError(
                    f"blocks are ascending numbers from 1 to {settings.depth}, not {list(numbers)}."
                )
        self.settings, self.taken, self.averaged = settings, tuple(blocks), tuple(patches)
        summaries = (*blocks, *patches)
        family, width = settings.family, settings.width
        self.has_class_token = family != "siglip"
        tokens = (settings.size // settings.patch) ** 2 + self.has_class_token
        self.patch_embedding = nn.Conv2d(3, width, settings.patch, stride=settings.patch, bias=family != "clip")
        if self.has_class_token:
            self.class_embedding = nn.Parameter(0.02 * torch.randn(width))
        self.position_embedding = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.pre_norm = nn.LayerNorm(width, EPSILON[family]) if family == "clip" else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(settings) for _ in range(max(summaries, default=settings.depth))
        )
        self.features = len(summaries) * width or settings.projection or width
        if not summaries:
            self.post_norm = nn.LayerNorm(width, EPSILON[family])
            if family == "clip":
                self.projection = nn.Linear(width, settings.projection, bias=False)
            if family == "siglip":
                self.pool = AttentionPool(settings)
        mean, std = (255.0 * torch.tensor(part).reshape(1, 3, 1, 1) for part in NORMALISATION[family])
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b features"]:
        """The embedding of each picture's centre view."""
        x = self.tokens(centre_view(pixels, self.settings.size))
        tokens, means = [], []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.taken:
                tokens.append(self.token_of(x))
            if number in self.averaged:
                means.append(self.mean_of(x))
        return torch.cat([*tokens, *means], dim=1) if tokens or means else self._final(x)

    def token_of(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """The class token, or the mean over all tokens where there is none."""
        return x[:, 0] if self.has_class_token else x.mean(dim=1)

    def mean_of(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """The mean over the patch tokens."""
        return x[:, int(self.has_class_token) :].mean(dim=1)

    def tokens(self, view: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b n d"]:
        """The residual stream before the first block, of a view of the tower's size."""
        x = (view.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        if self.has_class_token:
            x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1)
        tokens: Tensor = self.pre_norm(x + self.position_embedding)
        return tokens

    def _final(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        if self.settings.family == "clip":
            x = self.projection(self.post_norm(x[:, 0]))
        elif self.settings.family == "dinov2":
            x = self.post_norm(x)[:, 1:].mean(dim=1)
        else:
            x = self.pool(self.post_norm(x))
        return x


def _attend(
    query: Float[Tensor, "b m d"], key: Float[Tensor, "b n d"], value: Float[Tensor, "b n d"], heads: int
) -> Float[Tensor, "b m d"]:
    width = query.shape[-1] // heads
    q, k, v = (x.reshape(*x.shape[:2], heads, width).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _activated(y: Float[Tensor, "b n h"], family: Family) -> Float[Tensor, "b n h"]:
    if family == "clip":
        return quick_gelu(y)
    return F.gelu(y, approximate="tanh" if family == "siglip" else "none")
