"""What a judgement gives: small frozen dataclasses, and their JSON.

Fake (AI-generated) is the positive class. The JSON object of a `Report` is the same in the library, on
the command line, over REST and in the network; `schema_version` changes when a field changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import msgspec

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


@dataclass(frozen=True)
class Score:
    """What a detector says of one picture.

    `probability` of fake, calibrated where the card carries a calibration, in [0, 1]; `logit` is the raw
    number before calibration, aggregated over views; `interval` is the 95 % interval of the probability
    that comes from the calibration's own uncertainty (not from the picture); `view_logits` are the raw
    logits of each view (crop) of the picture; `evidence` are sentences on what the number rests on, where
    that is more than the number.
    """

    probability: float
    logit: float
    interval: tuple[float, float] | None = None
    view_logits: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


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
    """What provenance saw in the file: `kind` (c2pa, metadata, watermark), what it says, what it is worth."""

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
    """The share of `n` pictures of the other kind that got the same verdict, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


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
    verdict; `error_rate` says how often that verdict was wrong where it was measured, and is `None` for
    `unsure` and where it was not; `warnings` are stable codes; `id` is the same whenever the same bytes are
    judged by the same bundle.
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
    error_rate: ErrorRate | None = None
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
