"""Results of a judgement: small frozen dataclasses, and their JSON.

Fake (AI-generated) is the positive class. The JSON object of a `Report` is the same in the library, on
the command line, over REST and in the network; `schema_version` changes when a field changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np  # not while running: `veridical --help` needs the verdicts' names alone
    from numpy.typing import NDArray

from veridical.errors import ErrorInfo

SCHEMA_VERSION = 1


class Label(IntEnum):
    """Ground truth."""

    REAL = 0
    FAKE = 1


class Verdict(StrEnum):
    """The answer in one word; `unsure` is an answer, `error` says that there is none."""

    AI = "ai"
    REAL = "real"
    UNSURE = "unsure"
    ERROR = "error"


@dataclass(frozen=True)
class Thresholds:
    """The operating point: `ai` at or above `ai`, `real` at or below `real`, `unsure` between.

    Both are calibrated probabilities in [0, 1]. `None` means that the validation data supported no such
    threshold, so that the verdict is never given. `real` must be below `ai`.
    """

    ai: float | None
    real: float | None

    def decide(self, probability: float) -> Verdict:
        """The verdict for a calibrated probability of fake.

        >>> band = Thresholds(ai=0.9, real=0.2)
        >>> [band.decide(p).value for p in (0.95, 0.9, 0.5, 0.1)]
        ['ai', 'ai', 'unsure', 'real']
        """
        if self.ai is not None and probability >= self.ai:
            return Verdict.AI
        if self.real is not None and probability <= self.real:
            return Verdict.REAL
        return Verdict.UNSURE


class Modality(StrEnum):
    """A kind of media."""

    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True)
class Box:
    """A rectangle of an upright picture, pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Fact:
    """One thing that a detector or the verdict found: a stable `code` and its numbers and names.

    `explanation.words` has the sentence for each code.
    """

    code: str
    values: Mapping[str, object] = field(default_factory=dict)  # object: each code has its own


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A map of a score's origins in a picture: float32 (rows, columns), each cell a logit of its own."""

    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """A detector's answer for one medium.

    `probability` of fake, calibrated where the card carries a calibration, in [0, 1]; `logit` is the raw
    number before calibration, aggregated over frames and crops; `interval` is the 95 % interval of the
    probability that comes from the calibration's own uncertainty (not from the picture). `crop_logits` are the
    raw logits of the parts of a single picture, `frame_logits` those of the frames where there are several;
    `viewed` are the parts that were looked at, of each frame the same (none stated: the whole).
    `warnings` are codes, `facts` say what the number rests on where that is more than the number.
    """

    probability: float
    logit: float
    interval: tuple[float, float] | None = None
    crop_logits: tuple[float, ...] = ()
    frame_logits: tuple[float, ...] = ()
    viewed: tuple[Box, ...] = ()
    map: HeatMap | None = None
    warnings: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()

    @property
    def part_logits(self) -> tuple[float, ...]:
        """The raw logits of what was looked at: the frames, or of one picture its crops."""
        return self.frame_logits or self.crop_logits


@dataclass(frozen=True)
class ModelInfo:
    """Which bundle judged; `sha256` is that of its card, which holds the hash of every other file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class FrameScore:
    """One judged frame of an animation: its place in the file (from 0) and its probability of fake."""

    index: int
    probability: float


@dataclass(frozen=True)
class Finding:
    """A finding of provenance: `kind` (c2pa, metadata, watermark), what it says, what it is worth."""

    kind: str
    summary: str
    strength: str


@dataclass(frozen=True)
class Reason:
    """One sentence of the evidence that speaks for a verdict, or for having none.

    `points_to` is `ai`, `real`, or `unsure` for what makes either less reliable; `code` is stable.
    """

    code: str
    points_to: Verdict
    sentence: str


@dataclass(frozen=True)
class ErrorRate:
    """The share of `n` pictures of the other kind that got the same verdict, with its 95 % interval.

    `role` says on which pictures: see `models.card.Measurement`.
    """

    value: float
    low: float
    high: float
    n: int
    role: str = "test"


@dataclass(frozen=True)
class WrongShare:
    """The share of the pictures with this verdict that are of the other kind, if `prior` of all are AI.

    From the two rates behind it: how often the verdict is given to either kind. `low` and `high` combine the
    ends of their 95 % intervals, so that together they hold at least as often.
    """

    prior: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """Wall time of the stages, milliseconds."""

    decode: float = 0.0
    detect: float = 0.0


@dataclass(frozen=True)
class Report:
    """One judged file, or the error that stopped it.

    `path` is the name as the user gave it; `width`, `height` are pixels of the upright picture; `threshold`
    is the probability at and above which the verdict is `ai`, `threshold_real` that at and below which it is
    `real` (`None`: never); `calibrated` says whether `probability` went through a fitted calibration;
    `evidence` are sentences for a lay reader; `reasons` are those of them that speak for or against the
    verdict, `seen` the others; `error_rate` says how often the other kind of picture got that verdict,
    `wrong_shares` how many of the pictures with that verdict are of the other kind; both are empty for `unsure`
    and where nothing was measured; `viewed` are the parts that the detector looked at; `warnings` are stable
    codes; `id` is the same whenever the same bytes are judged by the same bundle.
    """

    path: str | None
    verdict: Verdict
    probability: float | None = None
    sha256: str | None = None
    id: str | None = None
    calibrated: bool = False
    threshold: float | None = None
    threshold_real: float | None = None
    interval: tuple[float, float] | None = None
    model: ModelInfo | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    frames: tuple[FrameScore, ...] = ()
    provenance: tuple[Finding, ...] = ()
    evidence: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    seen: tuple[str, ...] = ()
    error_rate: ErrorRate | None = None
    wrong_shares: tuple[WrongShare, ...] = ()
    viewed: tuple[Box, ...] = ()
    warnings: tuple[str, ...] = ()
    timing_ms: Timing = field(default_factory=Timing)
    error: ErrorInfo | None = None
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, object]:
        """The JSON object, as plain Python values (`object`: JSON is heterogeneous)."""
        built = msgspec.to_builtins(self)
        assert isinstance(built, dict)
        return built

    def to_json(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self).decode()
