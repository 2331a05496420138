"""Mixed precision: where it is used, and how numbers that bfloat16 would spoil stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast, if it is on for the tensor's device, is off."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()  # an autocast context, even one that does nothing, would end up in exported graphs


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16, so that mixed precision is worth its rounding."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, where the device can."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))
