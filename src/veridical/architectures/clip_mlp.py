"""UFD-T: a perceptron with one hidden layer of 384 on the embedding of a frozen tower.

TrueMedia.org's extension (MIT, 2024) of Utkarsh Ojha, Yuheng Li, Yong Jae Lee: Towards Universal Fake Image
Detectors that Generalize Across Generative Models, CVPR 2023, https://arxiv.org/abs/2302.10174. Written from
its definition: CLIP ViT-L/14's 768 numbers, not normalised to unit length, 768 -> 384 -> ReLU -> 1, 295,681
parameters.

We differ as `clip_linear` does: other towers, middle blocks, a tower that is trained in part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from veridical.architectures.probe import Probe

HIDDEN = 384


class MLPHead(nn.Module):
    """Embeddings of length `width` to logits; PyTorch's default initialisation."""

    def __init__(self, width: int = 768) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, 1)

    def forward(self, embeddings: Float[Tensor, "b width"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        logits: Tensor = self.fc2(F.relu(self.fc1(embeddings)))
        return logits.squeeze(1)


def build(
    backbone: str = "clip-vit-l14",
    blocks: Sequence[int] = (),
    patches: Sequence[int] = (),
) -> Probe:
    """The head on the tower `backbone` of `clip.SETTINGS`, both fresh; the others as in `Probe`."""
    return Probe(backbone, blocks, patches, MLPHead)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; there is nothing to fold."""
    return model.eval()
