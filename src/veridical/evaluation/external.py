"""Anyone's scores: a CSV or Parquet file becomes predictions, so that peers stand in the same table.

Column names are matched without regard to case. Of each line below, the first that the file has is taken:

* the label, needed: `label`, `target`, `y_true`; 1 or `fake`, 0 or `real`
* the score, needed, the probability of fake in [0, 1]: `score`, `probability`, `prob`, `p_fake`, `y_score`, and
  a column `detector` where there are several; or a column for each, `prob_NAME`, `score_NAME`, `NAME_prob` or
  `NAME_score`
* what was judged: `path`, `file`, `filename`, `image`, `id`; and `sha256`
* `generator`; `source` (of a real without one, `generator`); `group`, `publisher`; `content`, `modality`,
  `category`; `perturbation`
* the detector's verdict: `NAME_verdict`, `verdict`; `fake`, `ai` or 1, `real` or 0, anything else is unsure.
  Without one it is the score at `threshold`, or at 0.5, and never unsure.

An empty cell is a missing score, which is counted; a number out of range, or NaN, is an error.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from veridical.errors import DataError, did_you_mean
from veridical.evaluation.predictions import Prediction

_LABELS = {"1": "fake", "1.0": "fake", "fake": "fake", "0": "real", "0.0": "real", "real": "real"}
_VERDICTS = _LABELS | {"ai": "fake"}
_NAMES = {
    "label": ("label", "target", "y_true"),
    "score": ("score", "probability", "prob", "p_fake", "y_score"),
    "detector": ("detector",),
    "path": ("path", "file", "filename", "image", "id"),
    "sha256": ("sha256",),
    "generator": ("generator",),
    "source": ("source",),
    "group": ("group", "publisher"),
    "content": ("content", "modality", "category"),
    "perturbation": ("perturbation",),
    "threshold": ("threshold",),
    "verdict": ("verdict",),
}
_MARKS = ("prob", "score")  # of a detector's column in a wide file

# Keeps the logit of a saturated score finite; as gasbench clips.
_LEAST = 1e-7

Row = Mapping[str, object]  # object: text from CSV, anything from Parquet


@dataclass(frozen=True)
class External:
    """A file of scores, read: predictions, and how many scores each detector's reals and fakes lack."""

    predictions: list[Prediction]
    missing: dict[str, Counter[str]]


def read_external(
    path: Path, *, score_columns: Sequence[str] = (), missing_is_abstention: bool = False
) -> External:
    """The scores in a CSV (also `.csv.gz`) or Parquet file; each of `score_columns` is a detector.

    A sample without a score is left out of that detector's predictions, or, as an abstention, scores 0.5 and
    gets no verdict. A detector is named after the file, or after its column in a file with several. Raises
    `DataError` (`not_found`, `bad_predictions`) that names the line.
    """
    try:
        rows = list(_rows(path))
        bundle = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", code="not_found") from error
    except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"{path} is not a table: {error}", code="bad_predictions") from error
    if not rows:
        raise DataError(f"{path} holds no row.", code="bad_predictions")
    columns = list(rows[0][1])
    detectors = _score_columns(path, columns, score_columns)
    predictions: list[Prediction] = []
    missing: dict[str, Counter[str]] = {}
    for column, name in detectors.items():
        found = _found(path, columns, detector=name)
        for where, row in rows:
            detector = _text(row, found, "detector") or name
            score = _score(where, column, row[column])
            prediction = _prediction(where, row, found, detector=detector, bundle=bundle, score=score)
            if score is None:
                missing.setdefault(detector, Counter())[prediction.label] += 1
            if score is not None or missing_is_abstention:
                predictions.append(prediction)
    if not predictions:
        raise DataError(f"{path} holds no score.", code="bad_predictions")
    return External(predictions, missing)


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each row with where it stands, its columns in lower case."""
    if path.suffix == ".parquet":
        for number, row in enumerate(pq.read_table(path).to_pylist(), start=1):
            yield f"{path}, row {number}", {name.lower(): value for name, value in row.items()}
        return
    with _text_of(path) as file:
        reader = csv.DictReader(file)
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if None in cells or None in cells.values():
                raise DataError(f"{where}: not as many cells as the heading has.", code="bad_predictions")
            yield where, {name.strip().lower(): value.strip() for name, value in cells.items()}


def _text_of(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _score_columns(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """The detector of each column of scores."""
    if wanted:
        names = [name.lower() for name in wanted]
        if unknown := next((name for name in names if name not in columns), None):
            raise DataError(
                f"{path} has no column '{unknown}'. {did_you_mean(unknown, columns)}", code="bad_predictions"
            )
        return {name: _detector(name) for name in names}
    if single := next((name for name in _NAMES["score"] if name in columns), None):
        return {single: _stem(path)}
    wide = {name: _detector(name) for name in columns if _detector(name) != name}
    if not wide:
        raise DataError(
            f"{path} has no column of scores. Its columns: {', '.join(columns)}.",
            code="bad_predictions",
            hint=f"Call it {', '.join(_NAMES['score'])}, or name it with --score-columns.",
        )
    return wide


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _detector(column: str) -> str:
    """A column's name without the mark that makes it one of scores."""
    for mark in _MARKS:
        if column.startswith(f"{mark}_"):
            return column.removeprefix(f"{mark}_")
        if column.endswith(f"_{mark}"):
            return column.removesuffix(f"_{mark}")
    return column


def _found(path: Path, columns: Sequence[str], *, detector: str) -> dict[str, str]:
    """The file's column for each of ours that it has."""
    found = {ours: name for ours, names in _NAMES.items() for name in reversed(names) if name in columns}
    if f"{detector}_verdict" in columns:
        found["verdict"] = f"{detector}_verdict"
    if "label" not in found:
        raise DataError(
            f"{path} has no column of labels. Its columns: {', '.join(columns)}.",
            code="bad_predictions",
            hint=f"Call it {' or '.join(_NAMES['label'])}.",
        )
    return found


def _prediction(
    where: str, row: Row, found: Mapping[str, str], *, detector: str, bundle: str, score: float | None
) -> Prediction:
    said = _text(row, found, "label").lower()
    if said not in _LABELS:
        raise DataError(f"{where}: the label is '{said}', not 0, 1, real or fake.", code="bad_predictions")
    label = _LABELS[said]
    generator, source = _text(row, found, "generator"), _text(row, found, "source")
    value = 0.5 if score is None else score
    ai, real = _thresholds(where, row, found, score)
    return Prediction(
        detector=detector,
        bundle=bundle,
        path=_text(row, found, "path") or where,
        sha256=_text(row, found, "sha256").lower(),
        box="",
        label=label,
        # Some sets name the origin of reals and fakes in one column.
        generator=generator or "unnamed" if label == "fake" else "",
        source=source or (generator if label == "real" else "") or "unnamed",
        group=_text(row, found, "group"),
        score=value,
        logit=_logit(value),
        threshold_ai=ai,
        threshold_real=real,
        code="",
        perturbation=_text(row, found, "perturbation") or "none",
        content=_text(row, found, "content"),
    )


def _text(row: Row, found: Mapping[str, str], name: str) -> str:
    value = row[found[name]] if name in found else None
    return "" if value is None else str(value).strip()


def _score(where: str, column: str, cell: object) -> float | None:
    return None if cell is None or cell == "" else _share(where, column, str(cell))


def _thresholds(where: str, row: Row, found: Mapping[str, str], score: float | None) -> tuple[float, float]:
    """At or above the first the score says "AI", at or below the second "real"."""
    if score is None:
        return math.nan, math.nan
    if said := _text(row, found, "verdict").lower():
        # A verdict may rest on more than the score that is told, so the score itself is made its limit.
        verdict = _VERDICTS.get(said)
        above, below = math.nextafter(score, math.inf), math.nextafter(score, -math.inf)
        return score if verdict == "fake" else above, score if verdict == "real" else below
    limit = _text(row, found, "threshold")
    threshold = _share(where, "threshold", limit) if limit else 0.5
    return threshold, math.nextafter(threshold, -math.inf)


def _share(where: str, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(
            f"{where}: {column} is '{cell}', not a number from 0 to 1.",
            code="bad_predictions",
            hint="Scores are probabilities of fake; an empty cell says that there is none.",
        )
    return value


def _logit(score: float) -> float:
    clipped = min(max(score, _LEAST), 1 - _LEAST)
    return math.log(clipped / (1 - clipped))
