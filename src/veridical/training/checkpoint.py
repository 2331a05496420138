"""Checkpoints: parameters, optimiser and place in the run, as one safetensors file; never pickle.

A file is replaced in one step (written beside, flushed to disk, renamed), so that a killed run leaves the
one before or the one after. Nothing in it depends on time or machine: equal runs give equal bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from veridical.errors import ModelError

_KEY = "veridical"  # one metadata key only: the order of several is not fixed by the format's writer


@dataclass(frozen=True)
class Progress:
    """A run's place: `step` batches are done since the start, `batch` of them in `epoch`.

    `best_auroc` was reached in `best_epoch` (counted from 1, 0: none yet); `stale` epochs have passed since
    the last improvement or learning-rate cut.
    """

    experiment: str
    lr: float
    seed: int
    settings: dict[str, object] = field(default_factory=dict)  # object: as in Experiment
    tune: str = "all"
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_auroc: float = -1.0
    best_epoch: int = 0
    stale: int = 0
    finished: bool = False


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write tensors and JSON facts (object: JSON values) in one step."""
    cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(cpu, metadata={_KEY: json.dumps(facts, sort_keys=True)})
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors and facts; raises `ModelError` (`malformed_checkpoint`) if the file is not one of ours."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is not a checkpoint of veridical: {error!r}",
            code="malformed_checkpoint",
            hint="Give the best.safetensors or last.safetensors of a training run.",
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: '{name}' is not finite.", code="malformed_checkpoint")
    return tensors, facts


def save_run(
    path: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Everything that is needed to go on as if nothing had happened."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(v) for name, v in state.items()}
    save(path, tensors, asdict(progress))


def load_run(path: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Fill model, average and optimiser, and say where the run is."""
    tensors, facts = load(path)
    progress = Progress(**facts)  # type: ignore[arg-type] # JSON that asdict wrote
    for prefix, module in (("model.", model), ("average.", average)):
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        load_parameters(module, own)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return progress


def load_parameters(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Copy parameters into a network; every name and shape must agree (`checkpoint_mismatch`)."""
    try:
        model.load_state_dict(dict(parameters))
    except RuntimeError as error:
        raise ModelError(
            f"the checkpoint is not of this architecture: {error}", code="checkpoint_mismatch"
        ) from error
