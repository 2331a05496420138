"""Detectors made of other detectors: one JSON file says which, by name and sha256, and how they are combined.

`FAMILY:NAME` is `FAMILYs/NAME.json` in the user's cache, `FAMILY:PATH.json` a file, `FAMILY:FOLDER/` the file
`FAMILY.json` in a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from veridical.detectors.base import Carded, Detector
from veridical.errors import ModelError, UnknownModelError, did_you_mean
from veridical.models.card import Calibration, Card, Measurement, Paper, PixelInput, TrainingData
from veridical.models.snapshots import cache_folder
from veridical.results import Thresholds

SCHEMA_VERSION = 1
SUFFIX = ".json"

_MAX_BYTES = 16 * 2**20
_RELATIVE = re.compile(r"([a-z]+:|)(\.\.?/.*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A detector in a recipe: what `load_detector` knows it by, and its sha256.

    A path that begins with `./` or `../`, also after `fusion:` and the like, is one from the recipe's folder.
    """

    detector: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A combination's statements about itself, as on a card; `calibration` is that of the combined logit."""

    name: str
    version: str
    description: str
    training: TrainingData | None = None
    calibration: Calibration | None = None
    thresholds: Thresholds = Thresholds(ai=None, real=None)
    measured: tuple[Measurement, ...] = ()
    limits: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The bytes of the file: indented, ending in a newline, the same for equal recipes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


R = TypeVar("R", bound=Recipe)


def recipe_path(family: str, argument: str) -> Path:
    """The file of a recipe, by name or path; without either, the one named `default`.

    Raises `UnknownModelError` if it is not there.
    """
    wanted = argument or "default"
    if wanted.endswith(SUFFIX) or os.sep in wanted:
        path = Path(wanted)
        path = path / f"{family}{SUFFIX}" if path.is_dir() else path
    else:
        path = _folder(family) / f"{wanted}{SUFFIX}"
    if not path.is_file():
        raise UnknownModelError(
            f"There is no {family} {wanted!r}.",
            hint=did_you_mean(f"{family}:{wanted}", [f"{family}:{name}" for name in recipe_names(family)]),
        )
    return path


def recipe_names(family: str) -> list[str]:
    """The names of a family's recipes in the user's cache."""
    return sorted(path.stem for path in _folder(family).glob(f"*{SUFFIX}") if _NAME.fullmatch(path.stem))


def read_recipe(path: Path, kind: type[R]) -> tuple[R, bytes]:
    """The recipe in a file, and the file's bytes. Raises `ModelError` (`malformed_recipe`)."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
        data = path.read_bytes()
        recipe = msgspec.json.decode(data, type=kind)
        if recipe.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {recipe.schema_version}; this version reads {SCHEMA_VERSION}")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a valid recipe: {error}", code="malformed_recipe", hint="See docs/combining.md."
        ) from error
    return recipe, data


def load_part(part: Part, folder: Path, *, refused: Sequence[str]) -> Detector:
    """The detector of a part; `hash_mismatch` (`ModelError`) if it is not the one the recipe was made with.

    The families of `refused` are those that could lead back to the recipe itself.
    """
    from veridical.detectors import load_detector  # which imports the families, which import this

    if part.detector.partition(":")[0] in refused:
        raise ModelError(f"A recipe cannot be made of {part.detector!r}.", code="malformed_recipe")
    relative = _RELATIVE.fullmatch(part.detector)
    detector = load_detector(f"{relative[1]}{folder / relative[2]}" if relative else part.detector)
    if detector.sha256 != part.sha256:
        raise ModelError(
            f"{part.detector} is not the detector that the recipe was made with: "
            f"expected sha256 {part.sha256[:12]}…, found {detector.sha256[:12]}….",
            code="hash_mismatch",
            hint="Install that one again, or fit the combination again with this one.",
        )
    return detector


class Combination(Carded):
    """The base of combinations: they are told of by a card, made from the recipe and its parts."""

    def __init__(
        self,
        recipe: Recipe,
        parts: Sequence[Detector],
        *,
        sha256: str,
        architecture: str,
        paper: Paper,
        minimum: int,
        parameters: int,
    ) -> None:
        self.sha256 = sha256
        licences = dict.fromkeys(part.card.licence for part in parts if part.card)
        self.card = Card(
            name=recipe.name,
            version=recipe.version,
            architecture=architecture,
            description=recipe.description,
            licence="; ".join(licences) or "MIT",
            paper=paper,
            # Whole pictures: each part cuts its own views.
            input=PixelInput(kind="crops", size=minimum, align=1, minimum=minimum),
            parameters=parameters,
            files={},
            training=recipe.training,
            calibration=recipe.calibration,
            thresholds=recipe.thresholds,
            measured=recipe.measured,
            limits=recipe.limits,
        )


def _folder(family: str) -> Path:
    return cache_folder() / f"{family}s"
