"""Experiment: everything that decides what a training run learns, in one frozen object.

An experiment is a Python file that defines `EXPERIMENT`; its name is the file's name.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import pkgutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from veridical.architectures.facts import FACTS
from veridical.data.loader import Augmentation
from veridical.errors import UnknownModelError, UsageError, did_you_mean
from veridical.models.card import Paper, PixelInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn


@dataclass(frozen=True)
class Steps:
    """Lengths and rates of training by gradients; one epoch shows as many pictures as the training split holds.

    After `patience` epochs without a better validation AUROC the rate `lr` is multiplied by `lr_cut`, and
    training ends when it would fall below `lr_floor`, or after `epochs`. Validated and kept is the exponential
    moving average of the parameters over steps, with `average_decay` (0: the parameters themselves).
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.0
    average_decay: float = 0.0
    patience: int = 5
    lr_cut: float = 0.1
    lr_floor: float = 1e-6

    @property
    def unread(self) -> frozenset[str]:
        """The names that mean nothing beside the values of the others."""
        return frozenset()


@dataclass(frozen=True)
class Loop(Steps):
    """A network is trained on pixels, by `training.loop`.

    With `schedule` `cosine` or `linear` the rate falls from `lr` to 0 over the steps of all `epochs`; with
    `plateau` validation cuts it, and besides it is multiplied by `step_factor` every `step_epochs`. `momentum`
    is of `sgd`. `micro_batch` gathers the gradients of a batch in parts of so many pictures, for devices with
    little memory (batch normalisation then sees the parts). `loss_weight_real` weighs reals in cross-entropy.

    `tune` says what is trained: `all`, only the `head`, or besides it `norm` (scales and shifts of
    normalisations), `last:K` (the last K transformer blocks) or `lora:R` (changes of rank R to attention's
    queries and values); see `training.tuning`.
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    micro_batch: int = 0
    step_epochs: int = 0
    step_factor: float = 0.9
    schedule: Literal["plateau", "cosine", "linear"] = "plateau"
    loss_weight_real: float = 1.0
    tune: str = "all"

    @property
    def unread(self) -> frozenset[str]:
        """Momentum beside another optimiser, and cuts of the rate beside a schedule."""
        cuts = {"patience", "lr_cut", "lr_floor", "step_epochs", "step_factor"}
        return frozenset(
            ({"momentum"} if self.optimiser != "sgd" else set())
            | (cuts if self.schedule != "plateau" else set())
        )


@dataclass(frozen=True)
class Head(Steps):
    """A head alone is trained, by `training.heads`, on embeddings of a tower that stays as it was published.

    Of each picture `copies` augmented views are embedded, `encoded` that are cut and re-encoded and nothing
    else, and at most `views` untouched ones spread over it (none of these: the views of the bundle). The
    `solver` is `adam`, by steps, or `logistic` regression with the `inverse_penalty` (0: validation chooses
    one); there a share `reconstructed` of the fakes' weight is reconstructions.

    Within a class a stratum of n pictures weighs sqrt(n); with `weigh_by` `group` each publisher weighs alike,
    but one of few pictures no more than its pictures allow (see `heads.weights_of`).

    With `folds` such a head is trained on train and val together, and calibrated by so many others that have
    not seen the publishers whom they judge; see `training.cross_fit`.
    """

    epochs: int = 100
    batch_size: int = 256
    lr: float = 1e-3
    solver: Literal["adam", "logistic"] = "adam"
    copies: int = 1
    encoded: int = 0
    views: int = 0
    inverse_penalty: float = 0.0
    folds: int = 0
    weigh_by: Literal["", "group"] = ""

    @property
    def unread(self) -> frozenset[str]:
        """The names of the other solver."""
        if self.solver == "logistic":
            return frozenset(field.name for field in dataclasses.fields(Steps))
        return frozenset({"inverse_penalty", "folds", "weigh_by"})


FITS: dict[str, type[Loop] | type[Head]] = {"loop": Loop, "head": Head}


@dataclass(frozen=True)
class Experiment:
    """All that decides what is learned: `settings` go to the architecture's `build`, `fit` says how.

    With probability `reconstructed` a fake gives its place to a real crop of its batch as an autoencoder or an
    upscaler gives that back; `reconstruct` names one or several of these (see `generation.forge`).

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
    fit: Loop | Head
    settings: dict[str, object] = field(default_factory=dict)  # object: each architecture has its own
    seed: int = 0
    reconstruct: str = ""
    reconstructed: float = 0.0
    data: str = "../shared/data/images.csv"
    val_data: str = ""
    num_reals: int = 0
    num_fakes: int = 0
    balance: Literal["weight", "truncate"] = "weight"

    @property
    def loop(self) -> Loop:
        """Its `fit`, where that is a loop; raises `UsageError` for a head."""
        if not isinstance(self.fit, Loop):
            raise UsageError(
                f"'{self.name}' trains a head on cached embeddings, not a network.", hint="Set fit=loop."
            )
        return self.fit

    @property
    def head(self) -> Head:
        """Its `fit`, where that is a head; raises `UsageError` for a loop."""
        if not isinstance(self.fit, Head):
            raise UsageError(
                f"'{self.name}' trains more than a head, so embeddings cannot be kept.",
                hint="Set fit=head, for a head on a tower.",
            )
        return self.fit

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

    Names and rules are those of `with_values`; values are JSON where they can be read as JSON, else text.
    """
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"'{assignment}' is not name=value.")
        values[name] = _value(text)
    return with_values(experiment, **values)


def with_values(experiment: Experiment, **values: object) -> Experiment:
    """The experiment with some of its values replaced, by the names that `list_settings` gives.

    `lr` is a field of the experiment or of its fit, `augmentation.crop` and `input.size` a field of a part, and
    `fit` the other kind of training (`loop`, `head`), which keeps what both have. Any other name is a setting
    of the architecture. Raises `UsageError` for a name that is none of these or means nothing beside the
    others, and for a value of another kind.
    """
    first = ("architecture", "fit")  # what other names there are follows from these
    for name in sorted(values, key=lambda name: name not in first):
        experiment = _changed(experiment, name, values[name])
    if unread := sorted(experiment.fit.unread & values.keys()):
        raise UsageError(
            f"'{unread[0]}' means nothing to '{experiment.name}' as it is trained.",
            hint=f"'veridical train {experiment.name} --help-settings' lists what does.",
        )
    return experiment


def list_settings(experiment: Experiment) -> dict[str, object]:
    """Every value that can be changed, by its name."""
    kind = next(name for name, one in FITS.items() if isinstance(experiment.fit, one))
    own = _values(experiment, but=_PARTS)
    fit = _values(experiment.fit, but=experiment.fit.unread)
    parts = {
        f"{part}.{name}": value
        for part in ("input", "augmentation")
        for name, value in _values(getattr(experiment, part)).items()
    }
    return own | {"fit": kind} | fit | parts | _settings(experiment)


# What of an experiment is no value of its own.
_PARTS = frozenset({"paper", "settings", "augmentation", "input", "fit"})


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _values(part: DataclassInstance, but: Collection[str] = ()) -> dict[str, object]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.name not in but}


def _settings(experiment: Experiment) -> dict[str, object]:
    """Arguments of `build`, with the defaults where the experiment says nothing."""
    parameters = inspect.signature(architecture(experiment.architecture).build).parameters.values()
    return {p.name: experiment.settings.get(p.name, p.default) for p in parameters}


def _changed(experiment: Experiment, name: str, value: object) -> Experiment:
    part, dot, field_of_part = name.partition(".")
    changes: dict[str, Any] = {}
    if name == "fit":
        changes["fit"] = _fit_of_kind(experiment.fit, value)
    elif dot and part in ("augmentation", "input"):
        changes[part] = _replaced(getattr(experiment, part), field_of_part, value)
    elif name in _values(experiment.fit):
        changes["fit"] = _replaced(experiment.fit, name, value)
    elif name in _values(experiment, but=_PARTS):
        replaced = _replaced(experiment, name, value)
        assert isinstance(replaced, Experiment)
        return replaced
    elif name in _settings(experiment):
        changes["settings"] = experiment.settings | {name: value}
    else:
        others = [kind for kind, one in FITS.items() if name in {f.name for f in dataclasses.fields(one)}]
        raise UsageError(
            f"There is no '{name}' to set. {did_you_mean(name, list_settings(experiment))}",
            hint=f"It belongs to fit={others[0]}: set that, too." if others else None,
        )
    return dataclasses.replace(experiment, **changes)


def _fit_of_kind(fit: Loop | Head, kind: object) -> Loop | Head:
    """The fit as one of the other kind, with the steps of the first."""
    if kind not in FITS:
        raise UsageError(f"'fit' is one of {', '.join(FITS)}; {kind!r} is not.")
    chosen = FITS[str(kind)]
    if isinstance(fit, chosen):
        return fit
    return chosen(**{f.name: getattr(fit, f.name) for f in dataclasses.fields(Steps)})


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
    """The module `veridical.architectures.NAME`; raises `UnknownModelError` otherwise."""
    return _module("veridical.architectures", name, "architecture", list(FACTS))


def load_experiment(name: str) -> Experiment:
    """The experiment of that name, or of that path if it ends in `.py`.

    A path is run as Python: only open experiments that you would run.
    """
    if name.endswith(".py"):
        module = _module_from_path(Path(name))
    else:
        module = _module("veridical.training.experiments", name, "experiment", list_experiments())
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(f"'{name}' defines no EXPERIMENT.", hint="See veridical/training/experiments/.")
    return experiment


def list_experiments() -> list[str]:
    """The names that `load_experiment` knows."""
    paths = importlib.import_module("veridical.training.experiments").__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))


def _module(package: str, name: str, kind: str, known: Sequence[str]) -> ModuleType:
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
