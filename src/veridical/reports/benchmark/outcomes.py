"""Which pictures a detector gets right and wrong: lists of their paths, and the worst of them to look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from veridical.data.samples import Sample, file_sha256, load_pixels
from veridical.errors import DataError
from veridical.evaluation.predictions import Prediction
from veridical.reports.benchmark.measured import Measured
from veridical.reports.escaping import visible
from veridical.reports.thumbnail import jpeg_data_uri
from veridical.results import Box, Label

_LONGEST_SIDE = 240
_BOX = re.compile(r"\d+,\d+,[1-9]\d*,[1-9]\d*", re.ASCII)


@dataclass(frozen=True)
class Outcomes:
    """The pictures by label and verdict at 0.5; in each list those with the surest score first."""

    tp: list[Prediction]
    fp: list[Prediction]
    tn: list[Prediction]
    fn: list[Prediction]


@dataclass(frozen=True)
class Picture:
    """A picture to look at: its `thumbnail` is a `data:` URI, or None, and then `note` says why."""

    prediction: Prediction
    thumbnail: str | None
    note: str


def outcomes(rows: Sequence[Prediction]) -> Outcomes:
    """Every row in one of the four lists."""
    falling = sorted(rows, key=lambda row: (-row.score, row.path, row.box))
    rising = sorted(rows, key=lambda row: (row.score, row.path, row.box))
    return Outcomes(
        tp=[row for row in falling if row.label == "fake" and row.score >= 0.5],
        fp=[row for row in falling if row.label == "real" and row.score >= 0.5],
        tn=[row for row in rising if row.label == "real" and row.score < 0.5],
        fn=[row for row in rising if row.label == "fake" and row.score < 0.5],
    )


def write_lists(folder: Path, detectors: Sequence[Measured]) -> None:
    """DETECTOR/fp.txt, fn.txt, tp.txt and tn.txt: a path on each line, then a tab and the box, if any.

    The number of lines is that of the confusion table. What is no text in a path is written as an escape.
    """
    for detector in detectors:
        # Quoted, a name is one folder's name; only dots would still lead elsewhere.
        own = folder / re.sub(r"^\.+", lambda dots: "%2E" * len(dots[0]), quote(detector.name, safe=""))
        own.mkdir(parents=True, exist_ok=True)
        for name, rows in vars(outcomes(detector.rows)).items():
            text = "".join(f"{_line(row)}\n" for row in rows)
            (own / f"{name}.txt").write_text(text, encoding="utf-8", newline="")


def look_at(rows: Sequence[Prediction]) -> list[Picture]:
    """The rows with a small copy of each picture, if its file is here and is the one that was judged."""
    return [_look_at(row) for row in rows]


def _look_at(row: Prediction) -> Picture:
    sample = _sample(row)
    if sample is None:
        return Picture(row, None, f"The box '{visible(row.box)}' cannot be understood.")
    if not sample.path.is_file():
        return Picture(row, None, "The file is not here.")
    try:
        pixels = load_pixels(sample)
    except DataError:
        return Picture(row, None, "The file cannot be read.")
    if row.sha256 and not sample.member and file_sha256(sample.path) != row.sha256:
        return Picture(row, None, "The file is not the one that was judged.")
    return Picture(row, jpeg_data_uri(pixels, longest_side=_LONGEST_SIDE), "")


def _sample(row: Prediction) -> Sample | None:
    """The sample that was judged; None if the box, which may come from anyone's file, is none."""
    if row.box and not _BOX.fullmatch(row.box):
        return None
    path, _, member = row.path.rpartition("#")
    if not member or Path(row.path).exists() or not Path(path).is_file():
        path, member = row.path, ""
    return Sample(
        path=Path(path),
        label=Label[row.label.upper()],
        generator=row.generator,
        source=row.source,
        group=row.group,
        box=Box(*map(int, row.box.split(","))) if row.box else None,
        member=member,
    )


def _line(row: Prediction) -> str:
    return visible(row.path) + (f"\t{row.box}" if row.box else "")
