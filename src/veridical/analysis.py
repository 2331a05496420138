"""One file's bytes become a `Report`: decoded once, judged, and the verdict put in words.

Whoever judges a file - library, command line, server, miner - comes through here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.detectors import Detector, load_detector
from veridical.detectors._base import probability, score_of_logits
from veridical.errors import ErrorInfo, MediaError, MissingExtraError, SourceError, UsageError
from veridical.media import Image, open_media
from veridical.media.limits import DEFAULT_LIMITS, Limits
from veridical.media.sources import find_items, read_file
from veridical.models.card import Estimate, sha256_of
from veridical.results import FrameScore, ModelInfo, Report, Score, Thresholds, Timing, Verdict

VIEWS_DISAGREE = "views_disagree"


@dataclass(frozen=True)
class Judgement:
    """A report, and the picture it is about; no picture if the bytes could not be decoded."""

    report: Report
    image: Image | None


def analyse(
    source: bytes | str | os.PathLike[str],
    detectors: str = "default",
    *,
    threshold: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Judge one picture: its bytes, or the path of its file.

    `detectors` is a name from `list_detectors()` or a bundle's folder; `threshold` replaces the probability
    from which on the verdict is `ai`. A file that cannot be judged gives a report with the verdict `error`;
    raised are only `ModelError` (no such detector) and `UsageError`.
    """
    detector = load_detector(detectors)
    if isinstance(source, bytes):
        return judge(source, path=None, detector=detector, threshold=threshold, limits=limits).report
    path = os.fspath(source)
    _effective_thresholds(detector.thresholds, threshold)  # refuses a wrong one before the file is read
    try:
        data = _read(path, limits)
    except (SourceError, MediaError) as error:
        return Report(path=path, verdict=Verdict.ERROR, error=error.info)
    return judge(data, path=path, detector=detector, threshold=threshold, limits=limits).report


def judge(
    data: bytes,
    *,
    path: str | None,
    detector: Detector,
    threshold: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Judgement:
    """Judge the bytes of one file; `path` is only the name to report. Raises and gives as `analyse` does."""
    thresholds = _effective_thresholds(detector.thresholds, threshold)
    image = None
    started = time.perf_counter()
    try:
        image = open_media(data, limits=limits)
        decoded = time.perf_counter()
        scores = detector.detect(image.frames)
    except (MediaError, MissingExtraError) as error:
        return Judgement(_error_report(path, sha256_of(data), image, error.info), image)
    timing = Timing(decode=(decoded - started) * 1e3, detect=(time.perf_counter() - decoded) * 1e3)
    return Judgement(_report(path, image, scores, detector, thresholds, timing), image)


def _read(path: str, limits: Limits) -> bytes:
    if "://" in path:  # a URL is refused in the words of those who know them
        return next(find_items([path])).read(limits)
    return read_file(Path(path), limits)


def _effective_thresholds(own: Thresholds, threshold: float | None) -> Thresholds:
    """`threshold` in the place of the detector's; the one for `real` stays, but never above it."""
    if threshold is None:
        return own
    if not 0.0 <= threshold <= 1.0:
        raise UsageError(f"A threshold is a probability from 0 to 1; {threshold} is none.")
    return Thresholds(ai=threshold, real=None if own.real is None else min(own.real, threshold))


def _error_report(path: str | None, sha256: str, image: Image | None, error: ErrorInfo) -> Report:
    return Report(
        path=path,
        verdict=Verdict.ERROR,
        sha256=sha256,
        format=image.format if image else None,
        width=image.width if image else None,
        height=image.height if image else None,
        error=error,
    )


def _report(
    path: str | None,
    image: Image,
    scores: Sequence[Score],
    detector: Detector,
    thresholds: Thresholds,
    timing: Timing,
) -> Report:
    score = _score_of_frames(scores, detector)
    views = _view_probabilities(scores, detector)
    disagree = _disagree(views, thresholds)
    warned = [code for each in scores for code in each.warnings]
    codes = (*image.warnings, *warned, *([VIEWS_DISAGREE] if disagree else []))
    return Report(
        path=path,
        verdict=Verdict.UNSURE if disagree else thresholds.decide(score.probability),
        probability=score.probability,
        sha256=image.sha256,
        id=sha256_of((image.sha256 + detector.sha256).encode())[:16],
        calibrated=detector.calibrated,
        threshold=thresholds.ai,
        threshold_real=thresholds.real,
        interval=score.interval,
        model=ModelInfo(name=detector.name, version=detector.version, sha256=detector.sha256),
        format=image.format,
        width=image.width,
        height=image.height,
        frames=_frame_scores(image, scores),
        evidence=(
            *_evidence(image, score, views, detector, thresholds, disagree=disagree),
            *_evidence_of_the_surest(scores),
        ),
        warnings=tuple(dict.fromkeys(codes)),
        timing_ms=timing,
    )


def _score_of_frames(scores: Sequence[Score], detector: Detector) -> Score:
    """The picture's score: its only frame's, or that of the mean of the frames' logits, calibrated after."""
    if len(scores) == 1:
        return scores[0]
    return score_of_logits([score.logit for score in scores], detector.card)


def _evidence_of_the_surest(scores: Sequence[Score]) -> tuple[str, ...]:
    """What the detector itself adds; of an animation, what it says of the frame it is surest about."""
    return max(scores, key=lambda score: abs(score.logit)).evidence


def _view_probabilities(scores: Sequence[Score], detector: Detector) -> list[float]:
    """What the parts that were looked at say each: the crops of a still, the frames of an animation."""
    logits = scores[0].view_logits if len(scores) == 1 else [score.logit for score in scores]
    return [probability(logit, detector.card) for logit in logits]


def _disagree(views: Sequence[float], thresholds: Thresholds) -> bool:
    verdicts = {thresholds.decide(view) for view in views}
    return {Verdict.AI, Verdict.REAL} <= verdicts


def _frame_scores(image: Image, scores: Sequence[Score]) -> tuple[FrameScore, ...]:
    if image.frame_count == 1:
        return ()
    pairs = zip(image.frame_indices, scores, strict=True)
    return tuple(FrameScore(index=index, probability=score.probability) for index, score in pairs)


# The order is that of a reader's questions: how likely, what follows, how often is that wrong, what else.
def _evidence(
    image: Image,
    score: Score,
    views: Sequence[float],
    detector: Detector,
    thresholds: Thresholds,
    *,
    disagree: bool,
) -> tuple[str, ...]:
    sentences = [
        _number_in_words(score, detector),
        _verdict_in_words(score.probability, thresholds, disagree=disagree),
        _error_rate_in_words(score.probability, thresholds, detector) if not disagree else None,
        _views_in_words(image, views),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _number_in_words(score: Score, detector: Detector) -> str:
    said = f"The detector '{detector.name}' gives {_percent(score.probability)}"
    if not detector.calibrated:
        return f"{said} for AI; this number is not calibrated, so it ranks pictures but is not a probability."
    likely = f"{said} probability that the picture was made by AI, if both were equally likely beforehand"
    if score.interval is None:
        return f"{likely}."
    low, high = score.interval
    return f"{likely} (95 % interval of the calibration: {_percent(low)} to {_percent(high)})."


def _verdict_in_words(value: float, thresholds: Thresholds, *, disagree: bool) -> str:
    ai, real = thresholds.ai, thresholds.real
    if disagree:
        return "It is unsure, because some parts of the picture look made by AI and others look real."
    match thresholds.decide(value):
        case Verdict.AI:
            return f"That is at or above {_threshold(ai)}, from which on it says 'ai'."
        case Verdict.REAL:
            return f"That is at or below {_threshold(real)}, up to which it says 'real'."
    if ai is None and real is None:
        return "It is unsure, because no threshold could be set for it: its verdict is never 'ai' or 'real'."
    says_ai = "it never says 'ai'" if ai is None else f"it says 'ai' only from {_threshold(ai)} on"
    says_real = "it never says 'real'" if real is None else f"'real' only up to {_threshold(real)}"
    return f"It is unsure, because {says_ai} and {says_real}."


def _error_rate_in_words(value: float, thresholds: Thresholds, detector: Detector) -> str | None:
    """How often this verdict was wrong where it was measured; nothing at other thresholds than those."""
    verdict = thresholds.decide(value)
    if thresholds != detector.thresholds:
        return None
    if verdict is Verdict.AI and (rate := _measured(detector, "fpr")):
        return f"Of {rate.n} real pictures in its test, it wrongly called {_rate_in_words(rate)} 'ai'."
    if verdict is Verdict.REAL and (rate := _measured(detector, "fakes_called_real")):
        return f"Of {rate.n} AI pictures in its test, it wrongly called {_rate_in_words(rate)} 'real'."
    return None


def _measured(detector: Detector, metric: str) -> Estimate | None:
    """The rate on the card's test split, or else on the first split that has it."""
    splits = detector.card.measured if detector.card else ()
    found = {m.split: m.metrics[metric] for m in reversed(splits) if metric in m.metrics}
    return found.get("test", next(reversed(found.values()), None))


def _rate_in_words(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} % (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def _views_in_words(image: Image, views: Sequence[float]) -> str | None:
    spread = f"{_percent(min(views))} to {_percent(max(views))}"
    if len(image.frames) > 1:
        judged = f"{len(image.frames)} of the {image.frame_count} frames were judged, spread over the whole"
        return f"{judged}; they gave {spread}, and the answer is for the mean of their logits."
    if image.frame_count > 1:
        return f"Only the first of the file's {image.frame_count} frames or pages was judged."
    if len(views) > 1:
        return f"{len(views)} parts of the picture gave {spread}."
    return None


def _threshold(value: float | None) -> str:
    assert value is not None  # no verdict comes from a threshold that is not there
    return f"{100 * value:.4g} %"


def _percent(value: float) -> str:
    """In whole per cent, but never a certainty that was not measured.

    >>> [_percent(value) for value in (0.0004, 0.25, 0.9996)]
    ['under 1 %', '25 %', 'over 99 %']
    """
    if value < 0.005:
        return "under 1 %"
    if value >= 0.995:
        return "over 99 %"
    return f"{100 * value:.0f} %"
