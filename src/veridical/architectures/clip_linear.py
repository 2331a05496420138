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

from jaxtyping import Float
from torch import Tensor, nn

from veridical.architectures._probe import Probe


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
    trainable: str | int = "head",
) -> Probe:
    """The head on the tower `backbone` of `clip.SETTINGS`, both fresh; the others as in `Probe`."""
    return Probe(backbone, blocks, patches, trainable, LinearHead)


def for_export(model: nn.Module) -> nn.Module:
    """The same; there is nothing to fold."""
    return model.eval()
