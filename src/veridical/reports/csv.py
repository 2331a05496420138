"""CSV with stable columns, one row a file, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from veridical.reports import About, Entry
from veridical.reports.escaping import csv_cell
from veridical.results import Report

COLUMNS = (
    "path", "verdict", "probability", "interval_low", "interval_high", "calibrated",
    "threshold", "threshold_real", "model", "model_version", "model_sha256",
    "sha256", "format", "width", "height", "warnings", "error_code", "error_message",
)  # fmt: skip


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The heading row, then one row for each entry."""
    yield _row(COLUMNS)
    for entry in entries:
        yield _row(_cells(entry.report))


def _cells(report: Report) -> tuple[object, ...]:
    low, high = report.interval or (None, None)
    model, error = report.model, report.error
    return (
        report.path, report.verdict.value, report.probability, low, high, report.calibrated,
        report.threshold, report.threshold_real,
        model and model.name, model and model.version, model and model.sha256,
        report.sha256, report.format, report.width, report.height, " ".join(report.warnings),
        error and error.code, error and error.message,
    )  # fmt: skip


def _row(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        csv_cell(cell) if isinstance(cell, str) else str(cell).lower() if isinstance(cell, bool) else cell
        for cell in cells
    )
    return line.getvalue()
