"""ArtiFact: 964,989 real and 1,531,749 fake pictures of 25 generators and 8 sources, all 200 x 200 JPEG.

Md Awsafur Rahman, Bishmoy Paul, Najibul Haque Sarker, Zaber Ibn Abdul Hakim, Shaikh Anowarul Fattah: ArtiFact:
A Large-Scale Dataset with Artificial and Factual Images for Generalizable and Robust Synthetic Image Detection.
ICIP 2023. https://arxiv.org/abs/2302.11970

It could not be obtained where this was written (Kaggle was out of reach), so it was only read in tiny sets of
the same layout. It has no splits.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources import _kaggle
from veridical.data.sources._info import SourceInfo
from veridical.errors import DataError
from veridical.results import Label

DATASET = "awsaf49/artifact-dataset"

INFO = SourceInfo(
    title="ArtiFact",
    about="2.5 million pictures of 200 x 200: 25 generators, 8 sources of real pictures; no splits.",
    licence="differs by method: from MIT to non-commercial and unknown, see https://github.com/awsaf49/artifact",
    where=f"https://www.kaggle.com/datasets/{DATASET}",
    layout="METHOD/metadata.csv with image_path, target (0: real) and category, beside the pictures",
    paper="Rahman et al.: ArtiFact. ICIP 2023. https://arxiv.org/abs/2302.11970",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their methods and, within one, of its table."""
    tables = sorted(Path(data).glob("*/metadata.csv"))
    if not tables:
        raise DataError(f"{data} has no METHOD/metadata.csv.", code="not_found")
    return [sample for table in tables for sample in _read_table(table)]


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from Kaggle (tens of GB)."""
    _kaggle.download(DATASET, folder, most_bytes=most_bytes, say=say)


def _read_table(table: Path) -> Iterator[Sample]:
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                yield _sample(table.parent, row)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            where = f"{table}, line {reader.line_num}"
            raise DataError(f"{where}: no image_path and target (0: real): {error!r}.") from error


def _sample(folder: Path, row: dict[str, str]) -> Sample:
    label = Label.FAKE if int(row["target"]) else Label.REAL
    return Sample(
        path=folder / row["image_path"],
        label=label,
        generator=folder.name if label is Label.FAKE else "",
        source=f"artifact/{folder.name}",
        group=folder.name,
        content=row.get("category") or "",
    )
