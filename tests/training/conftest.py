"""A backbone with random parameters in a cache of its own, for tests of what stands on one."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from veridical.architectures import clip


@pytest.fixture
def tiny_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone that can be loaded; the cache is empty but for it."""
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "backbones" / "clip-tiny.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    safetensors.torch.save_file(clip.tower("clip-tiny").state_dict(), path)
    return "clip-tiny"
