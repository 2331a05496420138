"""Experiment: everything that decides a training run, in one frozen object.

An experiment is a Python file that defines `EXPERIMENT`; its name is the file's name.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from veridical.data.loader import Augmentation
from veridical.errors import UnknownModelError, UsageError, did_you_mean
from veridical.models.card import Paper, PixelInput

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Experiment:
    """`settings` go to the architecture's `build`; lengths are in epochs, and one epoch shows as many
    pictures as the training split holds.

    Learning rate: after `patience` epochs without a better validation AUROC it is multiplied by `lr_cut`,
    and training ends when it would fall below `lr_floor`, or after `epochs`.

    What is validated and kept is the exponential moving average of the parameters over steps, with
    `average_decay` (0: the parameters themselves).
    """

    name: str
    architecture: str
    description: str
    paper: Paper
    licence: str
    input: PixelInput
    augmentation: Augmentation
    epochs: int
    batch_size: int
    lr: float
    settings: dict[str, object] = field(default_factory=dict)  # object: each architecture has its own
    weight_decay: float = 0.0
    average_decay: float = 0.0
    patience: int = 5
    lr_cut: float = 0.1
    lr_floor: float = 1e-6
    seed: int = 0

    def build(self) -> nn.Module:
        """The network with fresh parameters; seeds nothing."""
        module: nn.Module = architecture(self.architecture).build(**self.settings)
        return module


def architecture(name: str) -> ModuleType:
    """The module `veridical.architectures.NAME`; raises `UnknownModelError`."""
    return _module("veridical.architectures", name, "architecture")


def load_experiment(name: str) -> Experiment:
    """The experiment of that name, or of that path if it ends in `.py`.

    A path is run as Python: only open experiments that you would run.
    """
    if name.endswith(".py"):
        module = _module_from_path(Path(name))
    else:
        module = _module("veridical.training.experiments", name, "experiment")
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"'{name}' defines no EXPERIMENT.", hint="See veridical/training/experiments/.")
    return experiment


def list_experiments() -> list[str]:
    """The names that `load_experiment` knows."""
    return _names("veridical.training.experiments")


def _names(package: str) -> list[str]:
    paths = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_"))


def _module(package: str, name: str, kind: str) -> ModuleType:
    known = _names(package)
    if name not in known:
        raise UnknownModelError(f"There is no {kind} '{name}'. {did_you_mean(name, known)}")
    return importlib.import_module(f"{package}.{name}")


def _module_from_path(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownModelError(f"There is no experiment file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
