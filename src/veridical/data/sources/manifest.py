"""A table with a row for each sample, such as `shared/data/images.csv`; paths are relative to the table."""

from __future__ import annotations

import csv
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources._info import SourceInfo
from veridical.errors import DataError
from veridical.results import Box, Label

_REQUIRED = ("path", "label")
_LABELS = {"real": Label.REAL, "fake": Label.FAKE}

INFO = SourceInfo(
    title="A manifest",
    about="Your own pictures, or regions of them.",
    licence="yours",
    where="your disk",
    layout="a .csv with path, label (real, fake); also generator, source, group, split, box, sha256, content, "
    "prompt, licence, photo_like (yes, mixed, no)",
)


def read(data: str) -> list[Sample]:
    """Samples in the table's order. `path` and `label` are required; the other columns may be missing."""
    path = Path(data)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}.")
            return [_sample(path.parent, row, f"{path}, line {reader.line_num}") for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"There is no manifest {path}.", code="not_found") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table in UTF-8: {error}") from error


def _sample(root: Path, row: dict[str, str], where: str) -> Sample:
    if row["label"] not in _LABELS:
        raise DataError(f"{where}: label '{row['label']}' is neither 'real' nor 'fake'.")
    return Sample(
        path=root / row["path"],
        label=_LABELS[row["label"]],
        generator=row.get("generator") or "",
        source=row.get("source") or "",
        group=row.get("group") or "",
        split=row.get("split") or "",
        box=_box(row.get("box") or "", where),
        sha256=row.get("sha256") or "",
        content=row.get("content") or "",
        prompt=row.get("prompt") or "",
        licence=row.get("licence") or "",
        photo_like=row.get("photo_like") or "",
    )


def _box(text: str, where: str) -> Box | None:
    if not text:
        return None
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"{where}: box '{text}' is not x,y,w,h in whole pixels.") from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise DataError(f"{where}: box '{text}' is not inside a picture.")
    return Box(left, top, width, height)
