"""Calibrated combination: the logits of several detectors, stacked by a logistic regression.

David Wolpert: Stacked generalization, Neural Networks 1992, https://doi.org/10.1016/S0893-6080(05)80023-1.
Fitted by `veridical fuse`, on predictions out of fold; what is fitted is a JSON file, loaded as `fusion:NAME`
or `fusion:PATH.json`.

A member that cannot judge a picture (it is too small for it) is left out: its logit is replaced by the mean of
the fitting data, and its own weight for being absent is added. A logit beyond those of the fitting data counts
as the last one seen there, since nothing is known of what lies further out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from veridical.detectors.base import Detector, require_size, score_frames, score_of_logits
from veridical.detectors.recipes import (
    SUFFIX,
    Combination,
    Part,
    Recipe,
    load_part,
    read_recipe,
    recipe_names,
    recipe_path,
)
from veridical.errors import MediaError, UnknownModelError
from veridical.files import replace_file
from veridical.media.image import Image, Pixels
from veridical.models.bundle import CARD, install_bundle, read_bundle
from veridical.models.card import Paper, sha256_of
from veridical.results import Fact, Score

FAMILY = "fusion"
NEEDS = "a recipe, fitted by veridical fuse, and its members"

# A mixture may lead back to the fusion.
REFUSED = (FAMILY, "mixture")

PAPER = Paper(
    authors="David Wolpert",
    title="Stacked generalization",
    venue="Neural Networks 1992",
    url="https://doi.org/10.1016/S0893-6080(05)80023-1",
)


@dataclass(frozen=True, kw_only=True)
class Member(Part):
    """One detector's place in the sum: `weight` times its logit, standardised by `mean` and `deviation`.

    `low` and `high` are the ends of its raw logits in the fitting data; `missing_weight` is added instead where
    it gives none.
    """

    mean: float
    deviation: float
    low: float
    high: float
    weight: float
    missing_weight: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.mean, self.deviation, self.low, self.high, self.weight, self.missing_weight)
        if not all(map(math.isfinite, numbers)) or self.deviation <= 0 or self.low > self.high:
            raise ValueError("a member's numbers must be finite, deviation positive, and low not above high")

    def term(self, logit: float | None) -> float:
        """The part's share of the stacked logit."""
        if logit is None:
            return self.missing_weight
        return self.weight * (min(max(logit, self.low), self.high) - self.mean) / self.deviation


@dataclass(frozen=True, kw_only=True)
class FusionRecipe(Recipe):
    """A fitted fusion."""

    members: tuple[Member, ...]
    bias: float

    def __post_init__(self) -> None:
        if not self.members or not math.isfinite(self.bias):
            raise ValueError("a fusion needs a member, and a finite bias")

    def stack(self, logits: Sequence[float | None]) -> float:
        """The stacked logit of the members' raw logits; `None` is one that is missing.

        >>> member = Member(
        ...     detector="a", sha256="", mean=1, deviation=2, low=-3, high=5, weight=4, missing_weight=0.5
        ... )
        >>> recipe = FusionRecipe(name="f", version="1", description="", members=(member,), bias=10)
        >>> [recipe.stack([logit]) for logit in (3, 100, None)]
        [14.0, 18.0, 10.5]
        """
        pairs = zip(self.members, logits, strict=True)
        return self.bias + sum(member.term(logit) for member, logit in pairs)


class Fusion(Combination):
    """Runs a fitted fusion."""

    def __init__(self, recipe: FusionRecipe, members: Sequence[Detector], sha256: str) -> None:
        super().__init__(
            recipe,
            members,
            sha256=sha256,
            architecture=FAMILY,
            paper=PAPER,
            minimum=min(member.minimum for member in members),
            parameters=1 + 2 * len(members),
        )
        self._recipe = recipe
        self._members = members

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        return score_frames(medium, self._score, self.card)

    def _score(self, image: Pixels) -> Score:
        require_size(image, self.minimum)
        scores = [_score_or_none(member, image) for member in self._members]
        logit = self._recipe.stack([score.logit if score else None for score in scores])
        warnings = dict.fromkeys(code for score in scores if score for code in score.warnings)
        score = score_of_logits([logit], self.card)
        boxes = dict.fromkeys(box for each in scores if each for box in each.viewed)
        return replace(score, viewed=tuple(boxes), warnings=tuple(warnings), facts=self._facts(scores))

    def _facts(self, scores: Sequence[Score | None]) -> tuple[Fact, ...]:
        pairs = list(zip(self._members, scores, strict=True))
        gave = {member.name: score.probability for member, score in pairs if score}
        facts = [Fact("members_gave", {"probabilities": gave})]
        if absent := tuple(member.name for member, score in pairs if not score):
            facts.append(Fact("members_too_large", {"names": absent}))
        return (*facts, *(fact for score in scores if score for fact in score.facts))


def _score_or_none(member: Detector, image: Pixels) -> Score | None:
    try:
        return member.detect(Image.of(image))
    except MediaError as error:
        if error.code != "too_small":
            raise
        return None


def write_fusion(recipe: FusionRecipe, folder: Path, bundles: Sequence[Path] = ()) -> Path:
    """Write `fusion.json` to a folder and copies of its members' `bundles` beside it; gives the file.

    A member without a bundle keeps its name, by which it must be found here. Raises `ModelError` before
    anything is written if one is not there, or another than the one in the recipe.
    """
    given = {bundle.sha256: bundle for bundle in map(read_bundle, bundles)}
    members = []
    for member in recipe.members:
        if bundle := given.get(member.sha256):
            members.append(replace(member, detector=f"./{bundle.folder.resolve().name}"))
        else:
            _require_found(member, folder)
            members.append(member)
    for member in members:
        if bundle := given.get(member.sha256):
            files = {name: (bundle.folder / name).read_bytes() for name in bundle.card.files}
            install_bundle(folder / member.detector, (bundle.folder / CARD).read_bytes(), files)
    path = folder / f"{FAMILY}{SUFFIX}"
    replace_file(path, replace(recipe, members=tuple(members)).to_json())
    return path


def _require_found(member: Member, folder: Path) -> None:
    try:
        load_part(member, folder, refused=REFUSED)
    except UnknownModelError as error:
        raise UnknownModelError(
            f"The member '{member.detector}' is not found here by its name.",
            hint="Name the folder of its bundle: --member FOLDER.",
        ) from error


def load(argument: str) -> Fusion:
    """The fusion of that name or path; without either, the one named `default`. Raises `ModelError`."""
    path = recipe_path(FAMILY, argument)
    recipe, data = read_recipe(path, FusionRecipe)
    members = [load_part(member, path.parent, refused=REFUSED) for member in recipe.members]
    return Fusion(recipe, members, sha256_of(data))


def names() -> list[str]:
    """The recipes that `load` finds by name on this machine."""
    return recipe_names(FAMILY)
