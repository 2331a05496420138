"""Experiment: everything that decides a training run, in one frozen object.

An experiment is a Python file that defines `EXPERIMENT`; its name is the file's name.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from veridical.data.loader import Augmentation
from veridical.errors import UnknownModelError, UsageError, did_you_mean
from veridical.models.card import Paper, PixelInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn


@dataclass(frozen=True)
class Experiment:
    """`settings` go to the architecture's `build`; lengths are in epochs, and one epoch shows as many
    pictures as the training split holds.

    Learning rate: after `patience` epochs without a better validation AUROC it is multiplied by `lr_cut`,
    and training ends when it would fall below `lr_floor`, or after `epochs`.

    What is validated and kept is the exponential moving average of the parameters over steps, with
    `average_decay` (0: the parameters themselves).

    `momentum` is for `sgd` alone. `micro_batch` gathers the gradients of a batch in parts of so many pictures,
    for devices with little memory (batch normalisation then sees the parts). With `step_epochs` the rate is
    also multiplied by `step_factor` every so many epochs, whatever validation says.

    With `schedule` `cosine` or `linear` the rate falls from `lr` to 0 over the steps of all `epochs` instead.
    `loss_weight_real` weighs reals in cross-entropy.

    `tune` says what is trained: `all` that the architecture leaves open, only the `head`, or besides it `norm`
    (scales and shifts of normalisations), `last:K` (the last K transformer blocks) or `lora:R` (changes of rank
    R to attention's queries and values); see `training.tuning`.

    With probability `reconstructed` a fake gives its place to a real crop of its batch as an autoencoder or an
    upscaler gives that back; `reconstruct` names one or several of these (see `generation.forge`).

    A head alone on a frozen tower is trained on cached embeddings of `copies` augmented views of each picture
    (0: the views of the bundle, untouched), by the `solver` `adam`, or by `logistic` regression with the
    `inverse_penalty` (0: validation chooses one); there `reconstructed` is the share of the fakes' weight.

    With `folds` such a head is trained on train and val together, and calibrated by so many others that have
    not seen the publishers whom they judge; see `training.cross_fit`.

    `data` is where the samples are, from the working directory: one set, or several joined by `;`, as
    `read_samples` knows them; `val_data` the same for validation (empty: their own splits, or a part held out).
    Of the training samples a seeded draw of `num_reals` and `num_fakes` is used (0: all), each generator and
    source in proportion. Batches are half real and half fake in any case: with the `balance` `weight` samples
    of the smaller class are shown more often, with `truncate` the larger class is cut to the smaller's size.
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
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.0
    micro_batch: int = 0
    average_decay: float = 0.0
    patience: int = 5
    lr_cut: float = 0.1
    lr_floor: float = 1e-6
    step_epochs: int = 0
    step_factor: float = 0.9
    schedule: Literal["plateau", "cosine", "linear"] = "plateau"
    loss_weight_real: float = 1.0
    tune: str = "all"
    solver: Literal["adam", "logistic"] = "adam"
    copies: int = 1
    inverse_penalty: float = 0.0
    folds: int = 0
    reconstruct: str = ""
    reconstructed: float = 0.0
    seed: int = 0
    data: str = "../shared/data/images.csv"
    val_data: str = ""
    num_reals: int = 0
    num_fakes: int = 0
    balance: Literal["weight", "truncate"] = "weight"

    def build(self) -> nn.Module:
        """The network with fresh parameters; seeds nothing. Raises `UsageError` for settings it refuses."""
        try:
            module: nn.Module = architecture(self.architecture).build(**self.settings)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"'{self.architecture}' cannot be built with {self.settings}: {error}",
                hint=f"See the settings of build() in veridical/architectures/{self.architecture}.py.",
            ) from error
        return module


def with_changes(experiment: Experiment, assignments: Sequence[str]) -> Experiment:
    """The experiment with some of its values replaced, each written `name=value`.

    `epochs=3` or `lr=1e-4` is a field; `augmentation.crop=64` or `input.size=32` a field of one; any other name
    is a setting of the architecture. Values are JSON where they can be read as JSON, else text. Raises
    `UsageError`.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"'{assignment}' is not name=value.")
        experiment = _changed(experiment, name, _value(text))
    return experiment


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changed(experiment: Experiment, name: str, value: object) -> Experiment:
    part, dot, field_of_part = name.partition(".")
    if dot and part in ("augmentation", "input"):
        changes: dict[str, Any] = {part: _replaced(getattr(experiment, part), field_of_part, value)}
        return dataclasses.replace(experiment, **changes)
    if name in {f.name for f in dataclasses.fields(experiment)} - {"settings", "augmentation", "input"}:
        replaced = _replaced(experiment, name, value)
        assert isinstance(replaced, Experiment)
        return replaced
    return dataclasses.replace(experiment, settings=experiment.settings | {name: value})


def _replaced(part: DataclassInstance, name: str, value: object) -> object:
    """The dataclass with one field replaced by a value of the same kind."""
    known = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    if name not in known:
        raise UsageError(f"There is no '{name}' to set. {did_you_mean(name, known)}")
    old = known[name]
    value = _like(old, value)
    if _kind(value) != _kind(old):
        raise UsageError(f"'{name}' is a {type(old).__name__}, like {old!r}; {value!r} is not.")
    hint = get_type_hints(type(part))[name]
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise UsageError(f"'{name}' is one of {', '.join(get_args(hint))}; {value!r} is not.")
    return dataclasses.replace(part, **{name: value})


def _like(old: object, value: object) -> object:
    """A value of JSON as the kind that `old` is: JSON has no tuples, and 1 may be meant as 1.0."""
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if isinstance(old, tuple) and isinstance(value, list) and len(value) == len(old):
        return tuple(_like(each, other) for each, other in zip(old, value, strict=True))
    return value


def _kind(value: object) -> object:
    return tuple(map(type, value)) if isinstance(value, tuple) else type(value)


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
