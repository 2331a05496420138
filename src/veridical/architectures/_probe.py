"""A head on a tower: what `clip_linear` and `clip_mlp` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures import clip


class Probe(nn.Module):
    """Pixels to logits: the embedding of a tower, then a head on it.

    `backbone`, `blocks` and `patches`: see `clip.tower`. `trainable` says what of the tower is open to
    training: `head` (nothing, only the head is), `norms` (its layer normalisations), a number (its last
    blocks), `all`. Raises `ValueError` for anything else.
    """

    def __init__(
        self,
        backbone: str,
        blocks: Sequence[int],
        patches: Sequence[int],
        trainable: str | int,
        head: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tower = clip.tower(backbone, blocks, patches)
        self.head = head(self.tower.features)
        self.has_frozen_tower = trainable == "head"
        _freeze(self.tower, trainable)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        logits: Tensor = self.head(self.tower(pixels))
        return logits


def _freeze(tower: clip.Tower, trainable: str | int) -> None:
    tower.requires_grad_(trainable == "all")
    if trainable == "norms":
        for module in tower.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
    elif isinstance(trainable, int) and 0 < trainable <= len(tower.blocks):
        tower.blocks[-trainable:].requires_grad_(True)
    elif trainable not in {"head", "all"}:
        raise ValueError(
            f"trainable is 'head', 'norms', 'all' or a number of blocks up to {len(tower.blocks)}, "
            f"not {trainable!r}."
        )
