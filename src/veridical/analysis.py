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
from veridical.detectors._gates import binding, decide, look_at_frames, withholding
from veridical.errors import ErrorInfo, MediaError, MissingExtraError, SourceError, UsageError
from veridical.media import Image, open_media
from veridical.media.limits import DEFAULT_LIMITS, Limits
from veridical.media.sources import find_items, read_file
from veridical.models.card import Measurement, sha256_of
from veridical.results import (
    ErrorRate,
    FrameScore,
    ModelInfo,
    Reason,
    Report,
    Score,
    Thresholds,
    Timing,
    Verdict,
)

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
        fired = look_at_frames(image.frames)
    except (MediaError, MissingExtraError) as error:
        return Judgement(_error_report(path, sha256_of(data), image, error.info), image)
    timing = Timing(decode=(decoded - started) * 1e3, detect=(time.perf_counter() - decoded) * 1e3)
    return Judgement(_report(path, image, scores, fired, detector, thresholds, timing), image)


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
    fired: Sequence[str],
    detector: Detector,
    thresholds: Thresholds,
    timing: Timing,
) -> Report:
    score = _score_of_frames(scores, detector)
    views = _view_probabilities(scores, detector)
    disagree = _disagree(views, thresholds)
    warned = [*fired, *(code for each in scores for code in each.warnings)]
    gates = binding(warned, detector)
    codes = (*image.warnings, *warned, *([VIEWS_DISAGREE] if disagree else []))
    verdict = Verdict.UNSURE if disagree else decide(score.probability, thresholds, gates)
    measurement = _measurement(verdict, thresholds, detector)
    reasons = (
        *_gates_in_words(score.probability, thresholds, gates),
        _place(score.probability, thresholds, disagree=disagree),
        *_error_rate_in_words(verdict, measurement, detector),
        *_doubts_of_the_number(score, verdict, thresholds, detector),
        *_parts(image, views, thresholds),
    )
    return Report(
        path=path,
        verdict=verdict,
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
            _number_in_words(score, detector),
            *(reason.sentence for reason in reasons),
            *_views_in_words(image, views),
            *_evidence_of_the_surest(scores),
        ),
        reasons=reasons,
        error_rate=_error_rate(verdict, measurement) if measurement else None,
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


def _number_in_words(score: Score, detector: Detector) -> str:
    said = f"The detector '{detector.name}' gives {_percent(score.probability)}"
    if not detector.calibrated:
        return f"{said} for AI; this number is not calibrated, so it ranks pictures but is not a probability."
    likely = f"{said} probability that the picture was made by AI, if both were equally likely beforehand"
    if score.interval is None:
        return f"{likely}."
    low, high = score.interval
    return f"{likely} (95 % interval of the calibration: {_percent(low)} to {_percent(high)})."


def _gates_in_words(value: float, thresholds: Thresholds, gates: Sequence[str]) -> list[Reason]:
    """Why there is no verdict although the number would give one."""
    verdict = thresholds.decide(value)
    return [
        Reason(gate.code, Verdict.UNSURE, f"{gate.sentence} So it does not say '{verdict.value}'.")
        for gate in withholding(verdict, gates)
    ]


def _place(value: float, thresholds: Thresholds, *, disagree: bool) -> Reason:
    """What the place of the number between the thresholds says."""
    ai, real = thresholds.ai, thresholds.real
    if disagree:
        sentence = "It is unsure, because some parts of the picture look made by AI and others look real."
        return Reason("parts_disagree", Verdict.UNSURE, sentence)
    match thresholds.decide(value):
        case Verdict.AI:
            sentence = f"The number is at or above {_threshold(ai)}, from which on it says 'ai'."
            return Reason("above_threshold", Verdict.AI, sentence)
        case Verdict.REAL:
            sentence = f"The number is at or below {_threshold(real)}, up to which it says 'real'."
            return Reason("below_threshold", Verdict.REAL, sentence)
    if ai is None and real is None:
        sentence = (
            "It is unsure, because no threshold could be set for it: its verdict is never 'ai' or 'real'."
        )
        return Reason("no_thresholds", Verdict.UNSURE, sentence)
    says_ai = "it never says 'ai'" if ai is None else f"it says 'ai' only from {_threshold(ai)} on"
    says_real = "it never says 'real'" if real is None else f"'real' only up to {_threshold(real)}"
    sentence = f"It is unsure, because {says_ai} and {says_real}."
    return Reason("between_thresholds", Verdict.UNSURE, sentence)


def _doubts_of_the_number(
    score: Score, verdict: Verdict, thresholds: Thresholds, detector: Detector
) -> list[Reason]:
    """Where the number leans without a verdict, and whether its interval leaves the verdict open."""
    if score.interval is None or not detector.calibrated:
        return []
    low, high = score.interval
    spread = f"{_percent(low)} to {_percent(high)}"
    if verdict is not Verdict.UNSURE:
        edge = thresholds.ai if verdict is Verdict.AI else thresholds.real
        assert edge is not None  # a verdict comes from a threshold
        if not low < edge < high:
            return []
        sentence = f"The calibration's own interval, {spread}, reaches to the other side of the threshold."
        return [Reason("interval_over_threshold", Verdict.UNSURE, sentence)]
    if low > 0.5:
        sentence = f"Its whole interval, {spread}, is above one half: it leans to AI, without a verdict."
        return [Reason("leans_to_ai", Verdict.AI, sentence)]
    if high < 0.5:
        sentence = f"Its whole interval, {spread}, is below one half: it leans to real, without a verdict."
        return [Reason("leans_to_real", Verdict.REAL, sentence)]
    return []


# Of each verdict the metric that says how often it is wrong.
_ERRORS = {Verdict.AI: "fpr", Verdict.REAL: "fakes_called_real"}


def _measurement(verdict: Verdict, thresholds: Thresholds, detector: Detector) -> Measurement | None:
    """Where errors of this verdict were measured: on the card's test split, or else on its first that has them.

    None at other thresholds than those that were measured.
    """
    if detector.card is None or thresholds != detector.thresholds or verdict not in _ERRORS:
        return None
    found = [split for split in detector.card.measured if _ERRORS[verdict] in split.metrics]
    return next((split for split in found if split.split == "test"), found[0] if found else None)


def _error_rate(verdict: Verdict, measurement: Measurement) -> ErrorRate:
    estimate = measurement.metrics[_ERRORS[verdict]]
    return ErrorRate(estimate.value, estimate.low, estimate.high, estimate.n)


def _error_rate_in_words(verdict: Verdict, measurement: Measurement | None, detector: Detector) -> list[Reason]:
    if measurement is None or detector.card is None:
        return []
    rate = _error_rate(verdict, measurement)
    training = detector.card.training
    if verdict is Verdict.AI:
        kind, tested, seen = "real pictures", set(measurement.sources), training and training.sources
        origin = "from sources it was not trained on"
    else:
        kind, tested, seen = "AI pictures", set(measurement.generators), training and training.generators
        origin = "from generators it was not trained on"
    if not tested or not seen or tested & set(seen):
        origin = "in its test"
    wrongly = f"it wrongly called {_rate_in_words(rate)} '{verdict.value}'"
    return [Reason("error_rate", verdict, f"Of {rate.n} {kind} {origin}, {wrongly}.")]


def _rate_in_words(rate: ErrorRate) -> str:
    return f"{100 * rate.value:.1f} % (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def _parts(image: Image, views: Sequence[float], thresholds: Thresholds) -> list[Reason]:
    """What the parts that were looked at say, each on its own, where that is a verdict."""
    if len(views) < 2:
        return []
    kind = "frames judged" if len(image.frames) > 1 else "parts looked at"
    verdicts = [thresholds.decide(view) for view in views]
    reasons = []
    for verdict in (Verdict.AI, Verdict.REAL):
        if count := verdicts.count(verdict):
            share = f"All {len(views)}" if count == len(views) else f"{count} of the {len(views)}"
            sentence = f"{share} {kind} would give '{verdict.value}' by themselves."
            reasons.append(Reason(f"parts_say_{verdict.value}", verdict, sentence))
    return reasons


def _views_in_words(image: Image, views: Sequence[float]) -> list[str]:
    spread = f"{_percent(min(views))} to {_percent(max(views))}"
    if len(image.frames) > 1:
        judged = f"{len(image.frames)} of the {image.frame_count} frames were judged, spread over the whole"
        return [f"{judged}; they gave {spread}, and the answer is for the mean of their logits."]
    if image.frame_count > 1:
        return [f"Only the first of the file's {image.frame_count} frames or pages was judged."]
    if len(views) > 1:
        return [f"{len(views)} parts of the picture gave {spread}."]
    return []


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
