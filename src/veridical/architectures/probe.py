"""A head on a tower: what `clip_linear` and `clip_mlp` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures import clip


class Probe(nn.Module):
    """Pixels to logits: the embedding of a tower, then a head on it.

    `backbone`, `blocks` and `patches`: see `clip.tower`. The tower is frozen, as it was published; training may
    open it.
    """

    def __init__(
        self,
        backbone: str,
        blocks: Sequence[int],
        patches: Sequence[int],
        head: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tower = clip.tower(backbone, blocks, patches)
        self.head = head(self.tower.features)
        self.tower.requires_grad_(False)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        logits: Tensor = self.head(self.tower(pixels))
        return logits
