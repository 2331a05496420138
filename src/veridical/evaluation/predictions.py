"""Stored predictions: a row for each sample and perturbation, from which every published number is derived."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from veridical.data.perturbations import perturb
from veridical.data.samples import Sample, file_sha256, load_frames
from veridical.detectors import Detector
from veridical.errors import DataError
from veridical.media.image import Image
from veridical.models.card import Calibration
from veridical.results import Label, Thresholds, Verdict
from veridical.verdict import WITHHOLDS, decide, judge_medium, withholding_codes

# Of a Parquet file; fixed, so that the bytes of a file depend on its rows alone.
_ROWS_IN_A_GROUP = 50_000


@dataclass(frozen=True)
class Prediction:
    """One sample judged by one detector.

    `score` is the calibrated probability of fake; `logit` the raw number before calibration; `threshold_ai`
    and `threshold_real` are the detector's (NaN: none); `box` as in the manifest, empty for the whole picture;
    `perturbation` is what the picture went through first, a name of `data.perturbations`; `content` is what it
    shows, where the set says so; `codes` are those that can withhold a verdict (`verdict.WITHHOLDS`), and
    `parts` the raw logits of the frames or crops, both with spaces between.
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
    codes: str = ""
    parts: str = ""

    @property
    def stratum(self) -> str:
        """The generator of a fake, the source of a real."""
        return self.generator if self.label == "fake" else self.source

    @property
    def verdict(self) -> Verdict:
        """The verdict of the road that all callers take."""
        ai, real = (None if np.isnan(limit) else limit for limit in (self.threshold_ai, self.threshold_real))
        return decide(self.score, Thresholds(ai=ai, real=real), self.codes.split())

    def with_operating_point(self, calibration: Calibration, thresholds: Thresholds) -> Prediction:
        """The prediction of the same detector with another calibration and other thresholds."""
        parts = [calibration.probability(float(logit)) for logit in self.parts.split()]
        codes = withholding_codes(parts, thresholds, self.codes.split())
        return replace(
            self,
            score=calibration.probability(self.logit),
            threshold_ai=_or_nan(thresholds.ai),
            threshold_real=_or_nan(thresholds.real),
            codes=" ".join(codes),
        )


@dataclass(frozen=True)
class Unjudged:
    """A sample without a score, and why.

    `error` is a code, `message` says it in words. `perturbation` and `detector` are empty where no detector
    could be asked, because the file itself cannot be read.
    """

    path: str
    sha256: str
    box: str
    label: str
    generator: str
    source: str
    group: str
    perturbation: str
    detector: str
    error: str
    message: str


def predict(detector: Detector, samples: Sequence[Sample], *, code: str) -> Iterator[Prediction]:
    """A prediction for each sample, in order; `code` is the version of this package.

    Raises `DataError` with the path of a sample that cannot be read or is too small to judge.
    """
    for sample in samples:
        for outcome in judge_sample(sample, [detector], ["none"], code=code):
            yield require_prediction(outcome)


def judge_sample(
    sample: Sample, detectors: Sequence[Detector], perturbations: Sequence[str], *, code: str
) -> Iterator[Prediction | Unjudged]:
    """Each detector's prediction for a sample after each perturbation, in the order of perturbations.

    The picture is decoded once, and perturbed once for all detectors.
    """
    try:
        frames = load_frames(sample)
        # It was read a moment ago, so it is there.
        sha256 = sample.sha256 or file_sha256(sample.path)
    except DataError as error:
        yield _unjudged(sample, sample.sha256, error)
        return
    for name in perturbations:
        try:
            medium = Image.of(*(perturb(frame, name, sha256=sha256) for frame in frames), sha256=sha256)
        except DataError as error:
            yield _unjudged(sample, sha256, error, perturbation=name)
            continue
        for detector in detectors:
            if min(medium.width, medium.height) < detector.minimum:
                yield _too_small(sample, medium, perturbation=name, detector=detector)
                continue
            judged = judge_medium(medium, detector)
            yield Prediction(
                detector=detector.name,
                bundle=detector.sha256,
                **columns_of(sample, sha256),
                score=judged.score.probability,
                logit=judged.score.logit,
                threshold_ai=_or_nan(detector.thresholds.ai),
                threshold_real=_or_nan(detector.thresholds.real),
                code=code,
                perturbation=name,
                content=sample.content,
                codes=" ".join(judged.codes),
                parts=" ".join(map(repr, judged.score.part_logits)),
            )


def require_prediction(outcome: Prediction | Unjudged) -> Prediction:
    """The prediction, or `DataError` with the path of the sample that could not be judged."""
    if isinstance(outcome, Unjudged):
        raise DataError(
            outcome.message,
            code=outcome.error,
            hint="Repair it, or remove it from the data set; with --allow-unreadable 'veridical predict' "
            "lists it and goes on.",
        )
    return outcome


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write Parquet (`.parquet`) or CSV, whole or not at all; gives the number of rows.

    Equal rows give equal bytes. In Parquet, bytes of a path that are not UTF-8 stand as \\xNN.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write = _write_parquet if path.suffix == ".parquet" else _write_csv
        count = write(temporary, predictions)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def write_unjudged(path: Path, unjudged: Iterable[Unjudged]) -> None:
    """Write a CSV, whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Unjudged)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in unjudged)
    temporary.replace(path)


def read_predictions(path: Path) -> list[Prediction]:
    """Rows of a predictions file, Parquet (`.parquet`) or CSV.

    Raises `DataError` (`bad_predictions`) that names the line. Columns with a default may be missing.
    """
    try:
        return list(_read_parquet(path) if path.suffix == ".parquet" else _read_csv(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", code="not_found") from error
    except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a file of predictions: {error}", code="bad_predictions") from error


def columns_of(sample: Sample, sha256: str) -> dict[str, str]:
    """A row's columns about its sample, whatever judged it; `box` is empty for the whole picture."""
    box = sample.box
    return {
        "path": sample.name,
        "sha256": sha256,
        "box": f"{box.left},{box.top},{box.width},{box.height}" if box else "",
        "label": sample.label.name.lower(),
        "generator": sample.generator,
        "source": sample.source,
        "group": sample.group,
    }


def as_arrays(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), scores (n,) and logits (n,)."""
    labels = np.array([int(Label[p.label.upper()]) for p in predictions])
    return labels, np.array([p.score for p in predictions]), np.array([p.logit for p in predictions])


def _unjudged(
    sample: Sample, sha256: str, error: DataError, *, perturbation: str = "", detector: str = ""
) -> Unjudged:
    return Unjudged(
        **columns_of(sample, sha256),
        perturbation=perturbation,
        detector=detector,
        error=error.code,
        message=error.message,
    )


def _too_small(sample: Sample, medium: Image, *, perturbation: str, detector: Detector) -> Unjudged:
    after = "" if perturbation == "none" else f" after {perturbation}"
    error = DataError(
        f"{sample.name} is smaller than the {detector.minimum} pixels that {detector.name} needs: it has "
        f"{min(medium.width, medium.height)}{after}.",
        code="too_small",
    )
    return _unjudged(sample, medium.sha256, error, perturbation=perturbation, detector=detector.name)


def _or_nan(threshold: float | None) -> float:
    return float("nan") if threshold is None else threshold


def _write_csv(path: Path, predictions: Iterable[Prediction]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, _NAMES)
        writer.writeheader()
        for prediction in predictions:
            writer.writerow(asdict(prediction))
            count += 1
    return count


def _write_parquet(path: Path, predictions: Iterable[Prediction]) -> int:
    count = 0
    rows = iter(predictions)
    schema = pa.schema([(name, pa.float64() if name in _NUMBERS else pa.string()) for name in _NAMES])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, _ROWS_IN_A_GROUP)):
            columns = {name: [_storable(getattr(row, name)) for row in group] for name in _NAMES}
            writer.write_table(pa.table(columns, schema=schema))
            count += len(group)
    return count


def _storable(value: str | float) -> str | float:
    if isinstance(value, float):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _read_csv(path: Path) -> Iterator[Prediction]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        _requirecolumns_of(path, reader.fieldnames or [])
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:  # where `DictReader` puts the cells that have no column
                raise DataError(f"{where}: more cells than columns.", code="bad_predictions")
            yield _row(row, where)


def _read_parquet(path: Path) -> Iterator[Prediction]:
    with pq.ParquetFile(path) as file:
        _requirecolumns_of(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield _row(row, f"{path}, row {number}")


def _requirecolumns_of(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{path} is not a file of predictions: it has no column {', '.join(missing)}.",
            code="bad_predictions",
            hint="Make it with 'veridical predict'.",
        )


def _row(row: Mapping[str, object], where: str) -> Prediction:
    values = {name: row[name] for name in _NAMES if name in row}
    if not all(isinstance(value, str) for name, value in values.items() if name not in _NUMBERS):
        raise DataError(f"{where}: not a prediction (a cell is missing).", code="bad_predictions")
    try:
        values |= {name: float(values[name]) for name in _NUMBERS}  # type: ignore[arg-type] # any type may come
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: not a prediction ({error}).", code="bad_predictions") from error
    prediction = Prediction(**values)  # type: ignore[arg-type] # checked above
    if prediction.label not in ("real", "fake") or not 0 <= prediction.score <= 1:
        raise DataError(f"{where}: label or score out of range.", code="bad_predictions")
    if unknown := set(prediction.codes.split()) - WITHHOLDS.keys():
        raise DataError(f"{where}: there is no code {', '.join(sorted(unknown))}.", code="bad_predictions")
    _require_logits(prediction.parts, where)
    return prediction


def _require_logits(parts: str, where: str) -> None:
    try:
        [float(logit) for logit in parts.split()]
    except ValueError as error:
        raise DataError(f"{where}: not a prediction ({error}).", code="bad_predictions") from error


_NAMES = [field.name for field in fields(Prediction)]
_REQUIRED = [field.name for field in fields(Prediction) if field.default is MISSING]
_NUMBERS = ("score", "logit", "threshold_ai", "threshold_real")
