"""Operations on pixels with which several networks begin."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# ITU-R BT.601's luma, as in JPEG.
_LUMA = (0.299, 0.587, 0.114)


def luma(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Brightness as JPEG has it, in the picture's own unit."""
    # A sum and not a product of matrices, which autocast would round to bfloat16.
    red, green, blue = x.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]


def resized(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c size size"]:
    """The whole picture at `size` x `size`, as Pillow's bilinear resize but not rounded.

    A picture that has the size already comes back as it is, to the bit.
    """
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
