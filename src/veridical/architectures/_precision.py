"""Numbers that bfloat16 would spoil stay in float32 while the rest of a network trains in mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast, if it is on for the tensor's device, is off."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()  # an autocast context, even one that does nothing, would end up in exported graphs
