"""Analysis: one file's bytes become a `Report`: decoded once, judged, and the verdict put in words.

Whoever judges a file - library, command line, server, miner - comes through here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from veridical.detectors import Detector, load_detector
from veridical.errors import ErrorInfo, MediaError, MissingExtraError, SourceError, UsageError
from veridical.explanation.reasons import explain
from veridical.media import Image, open_media
from veridical.media.limits import DEFAULT_LIMITS, Limits
from veridical.media.sources import find_items, read_file
from veridical.models.card import sha256_of
from veridical.results import Box, FrameScore, ModelInfo, Report, Thresholds, Timing, Verdict
from veridical.verdict import Judgement, judge_medium


@dataclass(frozen=True)
class Analysis:
    """A report, and the picture it is about; no picture if the bytes could not be decoded."""

    report: Report
    image: Image | None


def analyse(
    source: bytes | str | os.PathLike[str],
    detectors: str = "default",
    *,
    threshold: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    allow_truncated: bool = False,
) -> Report:
    """Judge one picture: its bytes, or the path of its file.

    `detectors` is a name from `list_detectors()` or a bundle's folder; `threshold` replaces the probability
    from which on the verdict is `ai`; with `allow_truncated` a file that breaks off gets a number, but no
    verdict. A file that cannot be judged gives a report with the verdict `error`;
    raised are only `ModelError` (no such detector) and `UsageError`.
    """
    detector = load_detector(detectors)
    _effective_thresholds(detector.thresholds, threshold)  # refuses a wrong one before the file is read
    path = None if isinstance(source, bytes) else os.fspath(source)
    try:
        data = source if isinstance(source, bytes) else _read(os.fspath(source), limits)
    except (SourceError, MediaError) as error:
        return Report(path=path, verdict=Verdict.ERROR, error=error.info)
    return judge(
        data,
        path=path,
        detector=detector,
        threshold=threshold,
        limits=limits,
        allow_truncated=allow_truncated,
    ).report


def judge(
    data: bytes,
    *,
    path: str | None,
    detector: Detector,
    threshold: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    allow_truncated: bool = False,
) -> Analysis:
    """Judge the bytes of one file; `path` is only the name to report. Raises and gives as `analyse` does."""
    thresholds = _effective_thresholds(detector.thresholds, threshold)
    image = None
    started = time.perf_counter()
    try:
        image = open_media(data, limits=limits, allow_truncated=allow_truncated)
        decoded = time.perf_counter()
        judgement = judge_medium(image, detector, thresholds=thresholds)
    except (MediaError, MissingExtraError) as error:
        return Analysis(_error_report(path, sha256_of(data), image, error.info), image)
    timing = Timing(decode=(decoded - started) * 1e3, detect=(time.perf_counter() - decoded) * 1e3)
    return Analysis(_report(path, image, judgement, detector, timing), image)


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


def _report(path: str | None, image: Image, judgement: Judgement, detector: Detector, timing: Timing) -> Report:
    score, thresholds = judgement.score, judgement.thresholds
    explanation = explain(judgement, image, detector)
    return Report(
        path=path,
        verdict=judgement.verdict,
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
        frames=_frame_scores(image, judgement),
        evidence=explanation.evidence,
        reasons=explanation.reasons,
        seen=(explanation.number, *explanation.seen),
        error_rate=explanation.error_rate,
        wrong_shares=explanation.wrong_shares,
        viewed=score.viewed or (Box(0, 0, image.width, image.height),),
        warnings=tuple(dict.fromkeys((*image.warnings, *judgement.warnings))),
        timing_ms=timing,
    )


def _frame_scores(image: Image, judgement: Judgement) -> tuple[FrameScore, ...]:
    if not judgement.score.frame_logits:
        return ()
    pairs = zip(image.frame_indices, judgement.parts, strict=True)
    return tuple(FrameScore(index=index, probability=part) for index, part in pairs)
