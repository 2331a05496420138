"""UniversalFakeDetect (UFD): one linear layer on the embedding of a frozen tower.

Utkarsh Ojha, Yuheng Li, Yong Jae Lee: Towards Universal Fake Image Detectors that Generalize Across Generative
Models, CVPR 2023, https://arxiv.org/abs/2302.10174. Written from the published definition: CLIP ViT-L/14's
768 numbers, not normalised to unit length, and a layer of 769 parameters whose weights start as N(0, 0.02).

We differ in these ways: other towers can carry the head, among them CLIP ViT-B/16, which is obtainable
offline (512 numbers); class tokens of middle blocks can stand for the final embedding, as in Christos
Koutlis, Symeon Papadopoulos: Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image
Detection, ECCV 2024, https://arxiv.org/abs/2402.19091 (RINE), of which only that idea is taken; and part of
the tower can be trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures import clip
from veridical.architectures.probe import Probe


class LinearHead(nn.Module):
    """Embeddings of length `width` to logits: `width` + 1 parameters."""

    def __init__(self, width: int = 768) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 1)
        nn.init.normal_(self.fc.weight, mean=0.0, std=0.02)

    def forward(self, embeddings: Float[Tensor, "b width"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        logits: Tensor = self.fc(embeddings)
        return logits.squeeze(1)


def build(
    backbone: str = "clip-vit-l14",
    blocks: Sequence[int] = (),
    patches: Sequence[int] = (),
) -> Probe:
    """The head on the tower `backbone` of `clip.SETTINGS`, both fresh; the others as in `Probe`."""
    return Probe(backbone, blocks, patches, LinearHead)


def for_export(model: nn.Module) -> nn.Module:
    """Without the last block's second matrix where nothing but the head reads it."""
    assert isinstance(model, Probe)
    last = len(model.tower.blocks)
    is_read = last in (*model.tower.taken, *model.tower.averaged)
    return Folded(model).eval() if is_read else model.eval()


class Folded(nn.Module):
    """A `Probe` on middle blocks with fewer parameters and equal logits.

    The last block's second matrix and the head are linear with nothing between them, so they become one matrix
    with a column for each summary of that block: 2.4 million parameters fewer in CLIP ViT-B/16.
    """

    def __init__(self, model: Probe) -> None:
        super().__init__()
        assert isinstance(model.head, LinearHead)
        self.tower, last = model.tower, _last_block(model.tower)
        summaries = [*((n, "token") for n in self.tower.taken), *((n, "mean") for n in self.tower.averaged)]
        rows = model.head.fc.weight.detach().reshape(len(summaries), -1)
        of_last = [row for (number, _), row in zip(summaries, rows, strict=True) if number == self._depth]
        self.summaries = summaries
        self.rows = nn.Parameter(rows.clone())
        skip = torch.stack(of_last)
        self.skip = nn.Linear(skip.shape[1], len(skip), bias=False)
        self.skip.weight = nn.Parameter(skip)
        self.out = nn.Linear(last.fc2.in_features, len(of_last))
        self.out.weight = nn.Parameter(skip @ last.fc2.weight.detach())
        self.out.bias = nn.Parameter(skip @ last.fc2.bias.detach())
        self.bias = nn.Parameter(model.head.fc.bias.detach().clone())

    @property
    def _depth(self) -> int:
        return len(self.tower.blocks)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        x = self.tower.tokens(clip.centre_view(pixels, self.tower.settings.size))
        logits: Tensor = self.bias
        for number, block in enumerate(self.tower.blocks[:-1], start=1):
            x = block(x)
            for (place, kind), row in zip(self.summaries, self.rows, strict=True):
                if place == number:
                    logits = logits + self._summary(x, kind) @ row
        last = _last_block(self.tower)
        x = last.attended(x)
        columns = self.skip(x) + self.out(last.hidden(x))
        kinds = [kind for place, kind in self.summaries if place == self._depth]
        for column, kind in enumerate(kinds):
            logits = logits + self._summary(columns, kind)[:, column]
        return logits

    def _summary(self, x: Float[Tensor, "b n d"], kind: str) -> Float[Tensor, "b d"]:
        return self.tower.token_of(x) if kind == "token" else self.tower.mean_of(x)


def _last_block(tower: clip.Tower) -> clip.TransformerBlock:
    last = tower.blocks[-1]
    assert isinstance(last, clip.TransformerBlock)
    return last
