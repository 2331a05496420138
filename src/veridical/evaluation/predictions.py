"""Stored predictions: one row per sample, from which every published number is derived again."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from veridical.data.samples import Sample, load_pixels
from veridical.detectors import Detector
from veridical.errors import DataError
from veridical.results import Label


@dataclass(frozen=True)
class Prediction:
    """One sample judged by one detector.

    `score` is the calibrated probability of fake; `logit` the raw number before calibration; `threshold_ai`
    and `threshold_real` are the detector's (NaN: none); `box` as in the manifest, empty for the whole picture;
    `perturbation` is what the picture went through first, a name of `data.perturbations`; `content` is what it
    shows, where the set says so.
    """

    detector: str
    bundle: str
    path: str
    sha256: str
    box: str
    label: str
    generator: str
    source: str
    group: str
    score: float
    logit: float
    threshold_ai: float
    threshold_real: float
    code: str
    perturbation: str = "none"
    content: str = ""

    @property
    def stratum(self) -> str:
        """The generator of a fake, the source of a real."""
        return self.generator if self.label == "fake" else self.source


def predict(detector: Detector, samples: Sequence[Sample], *, code: str) -> Iterator[Prediction]:
    """A prediction for each sample, in order; `code` is the version of this package.

    Raises `DataError` with the path of a sample that cannot be read or is too small to judge.
    """
    limit = float("nan")
    for sample in samples:
        pixels = load_pixels(sample)
        if min(pixels.shape[:2]) < detector.minimum:
            raise DataError(
                f"{sample.name} is smaller than the {detector.minimum} pixels that {detector.name} needs.",
                code="unreadable_sample",
            )
        score = detector.detect([pixels])[0]
        box = sample.box
        yield Prediction(
            detector=detector.name,
            bundle=detector.sha256,
            path=sample.name,
            sha256=sample.sha256,
            box=f"{box.left},{box.top},{box.width},{box.height}" if box else "",
            label=sample.label.name.lower(),
            generator=sample.generator,
            source=sample.source,
            group=sample.group,
            score=score.probability,
            logit=score.logit,
            threshold_ai=limit if detector.thresholds.ai is None else detector.thresholds.ai,
            threshold_real=limit if detector.thresholds.real is None else detector.thresholds.real,
            code=code,
            content=sample.content,
        )


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write a CSV in one step; gives the number of rows."""
    temporary = path.with_name(path.name + ".partial")
    count = 0
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Prediction)])
        writer.writeheader()
        for prediction in predictions:
            writer.writerow(asdict(prediction))
            count += 1
    temporary.replace(path)
    return count


def read_predictions(path: Path) -> list[Prediction]:
    """Rows of a predictions file; raises `DataError` that names the line."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            return [_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", code="not_found") from error


def as_arrays(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), scores (n,) and logits (n,)."""
    labels = np.array([int(Label[p.label.upper()]) for p in predictions])
    return labels, np.array([p.score for p in predictions]), np.array([p.logit for p in predictions])


def _row(row: dict[str, str], where: str) -> Prediction:
    numbers = ("score", "logit", "threshold_ai", "threshold_real")
    try:
        values: dict[str, str | float] = {f.name: row[f.name] for f in fields(Prediction) if f.name in row}
        values |= {name: float(row[name]) for name in numbers}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a prediction ({error}).", code="bad_predictions") from error
    if values["label"] not in ("real", "fake") or not 0 <= float(values["score"]) <= 1:
        raise DataError(f"{where}: label or score out of range.", code="bad_predictions")
    return Prediction(**values)  # type: ignore[arg-type] # built from the fields above
