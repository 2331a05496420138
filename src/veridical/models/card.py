"""The card: what must travel with parameters.

A card says how pixels reach the graph, what the bundle was trained on, how its logits become
probabilities, where its thresholds lie, and the error rates measured on data that neither training nor
calibration saw. Its own sha256 names the bundle, because it holds the sha256 of every other file.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from veridical.errors import ModelError
from veridical.media.limits import DEFAULT_LIMITS
from veridical.results import Thresholds

CARD_SCHEMA_VERSION = 1

Role = Literal["test", "out_of_fold", "fitted"]


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paper:
    """The publication that the method comes from."""

    authors: str
    title: str
    venue: str
    url: str


@dataclass(frozen=True)
class PixelInput:
    """How an upright sRGB picture reaches the graph.

    `crops`: at most `count` squares of `size` pixels at native resolution, the centre first and then the
    corners, each starting at a multiple of `align` so that the phase of the sampling grid is kept. A
    picture with a side shorter than `size` is taken whole along that side, trimmed to a multiple of `align`.
    `spread`: the same squares, but spread over the whole picture, the more of them the larger it is, and again
    at most `count`: see `detectors.bundle.crop_boxes`.
    `resize`: the whole picture to `size` x `size` by Pillow's `interpolation`.
    `minimum` is the least short side, in pixels, that the bundle judges.
    """

    kind: Literal["crops", "spread", "resize"]
    size: int
    count: int = 1
    align: int = 2
    minimum: int = DEFAULT_LIMITS.min_side
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        if min(self.size, self.count, self.align, self.minimum) < 1 or self.size % self.align:
            raise ValueError("size, count, align and minimum must be positive, and size a multiple of align")


@dataclass(frozen=True)
class CalibrationPoint:
    """The calibrated probability at a raw logit, and its 95 % interval."""

    logit: float
    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """A map from the aggregated logit to a probability of fake that never falls as the logit rises.

    `platt`: sigmoid(slope * logit + intercept), John Platt, Probabilistic outputs for support vector machines,
    1999. `temperature`: the same with intercept 0, Chuan Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017; 1 / slope is the temperature. `isotonic`: linear between the points of `table`, constant outside
    it, and `slope` and `intercept` mean nothing; Bianca Zadrozny, Charles Elkan, Transforming classifier scores
    into accurate multiclass probability estimates, KDD 2002.

    Fitted with the two classes weighted equally, so the probability answers "if real and fake were equally
    likely beforehand". `covariance` is that of (slope, intercept), by bootstrap over publishers, and gives the
    interval of a probability; the points of `table` hold theirs.
    """

    slope: float
    intercept: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    fitted_on: str
    data_sha256: str
    n_real: int
    n_fake: int
    method: Literal["platt", "temperature", "isotonic"] = "platt"
    table: tuple[CalibrationPoint, ...] = ()

    def __post_init__(self) -> None:
        if (self.method == "isotonic") != bool(self.table):
            raise ValueError("a table belongs to the method isotonic, and to no other")
        if any(p.probability > q.probability or p.logit >= q.logit for p, q in itertools.pairwise(self.table)):
            raise ValueError("a calibration table must rise")

    def probability(self, logit: float) -> float:
        """Calibrated probability of fake, in [0, 1]."""
        if self.table:
            return _between(self.table, logit).probability
        return _sigmoid(self.slope * logit + self.intercept)

    def interval(self, logit: float) -> tuple[float, float]:
        """95 % interval of `probability` from the uncertainty of the fit."""
        if self.table:
            point = _between(self.table, logit)
            return point.low, point.high
        (ss, si), (_, ii) = self.covariance
        deviation = math.sqrt(max(0.0, ss * logit * logit + 2 * si * logit + ii))
        centre = self.slope * logit + self.intercept
        return _sigmoid(centre - 1.96 * deviation), _sigmoid(centre + 1.96 * deviation)


@dataclass(frozen=True)
class LicensedPart:
    """Training pictures of one source under one licence, in its publisher's words; empty: none is known."""

    source: str
    licence: str
    n_real: int
    n_fake: int


@dataclass(frozen=True)
class TrainingData:
    """The data the parameters have seen. `data_sha256` is that of the manifest (which hashes every file).

    `accepted_shortcuts`: what of their audit the data failed and were trained on nevertheless. `parts` are the
    same pictures by source and licence.
    """

    name: str
    data_sha256: str
    n_real: int
    n_fake: int
    generators: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    note: str = ""
    accepted_shortcuts: tuple[str, ...] = ()
    parts: tuple[LicensedPart, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """Error rates on one split, and the command that prints them again.

    `role` says what the numbers are worth: measured on a `test` that chose nothing; `out_of_fold`, where each
    sample was judged by a fit that had not seen its publisher; or `fitted`, on the samples that chose what is
    measured, which flatters it.

    `metrics` by name (`auroc`, `tpr_at_fpr_5`, `fpr`, `ece`, ...); `generators` and `sources` hold the same
    for each generator and each source of reals.
    """

    split: str
    data_sha256: str
    command: str
    metrics: dict[str, Estimate]
    generators: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    sources: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    role: Role = "fitted"


@dataclass(frozen=True)
class Reproduction:
    """The way to make the bundle again: commands in their order, the seed, the checkpoint they went through."""

    commands: tuple[str, ...]
    seed: int
    checkpoint_sha256: str


@dataclass(frozen=True)
class Card:
    """A bundle's card; `files` maps each other file of the bundle to its sha256 (hex).

    `precision`: with `int8_weights` parameters are stored in int8 and nothing is rounded by the range of its
    batch: what they multiply is rounded row by row, or not at all.
    """

    name: str
    version: str
    architecture: str
    description: str
    licence: str
    paper: Paper
    input: PixelInput
    parameters: int
    files: dict[str, str]
    training: TrainingData | None = None
    calibration: Calibration | None = None
    thresholds: Thresholds = Thresholds(ai=None, real=None)
    measured: tuple[Measurement, ...] = ()
    limits: tuple[str, ...] = ()
    precision: Literal["float32", "int8", "int8_weights"] = "float32"
    has_map: bool = False
    reproduction: Reproduction | None = None
    schema_version: int = CARD_SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The bytes of `card.json`: indented, ending in a newline, the same for equal cards."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def parse_card(data: bytes) -> Card:
    """Read `card.json`. Raises `ModelError` (`malformed_bundle`) that names the field that is wrong."""
    try:
        card = msgspec.json.decode(data, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"card.json is not a valid card: {error}", hint="Write bundles with 'veridical export'."
        ) from error
    if card.schema_version != CARD_SCHEMA_VERSION:
        raise ModelError(
            f"card.json has schema_version {card.schema_version}; this version reads {CARD_SCHEMA_VERSION}.",
            hint="Install the version of veridical that wrote the bundle, or export it again.",
        )
    if "model.onnx" not in card.files:
        raise ModelError("card.json names no model.onnx.", hint="Write bundles with 'veridical export'.")
    return card


def sha256_of(data: bytes) -> str:
    """Hex sha256."""
    return hashlib.sha256(data).hexdigest()


def _between(table: tuple[CalibrationPoint, ...], logit: float) -> CalibrationPoint:
    """The point of the table at a logit, by linear interpolation; its first or last one outside of it."""
    place = bisect.bisect_right(table, logit, key=lambda point: point.logit)
    if place in (0, len(table)):
        return table[min(place, len(table) - 1)]
    before, after = table[place - 1], table[place]
    share = (logit - before.logit) / (after.logit - before.logit)

    def mixed(one: float, other: float) -> float:
        # Of the ways to write this one never falls, and equal ends give exactly them, whatever the rounding.
        return min(one + share * (other - one), other)

    return CalibrationPoint(
        logit,
        mixed(before.probability, after.probability),
        mixed(before.low, after.low),
        mixed(before.high, after.high),
    )


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))
