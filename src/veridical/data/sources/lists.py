"""Two text files, `REAL.txt,FAKE.txt`, with one path per line; relative paths start at the list's folder."""

from __future__ import annotations

from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources._info import SourceInfo
from veridical.errors import DataError
from veridical.results import Label

INFO = SourceInfo(
    title="Two lists",
    about="Your own pictures.",
    licence="yours",
    where="your disk",
    layout="REAL.txt,FAKE.txt: a path on each line, relative to the list's folder",
)


def read(data: str) -> list[Sample]:
    """Reals first, each list in its own order; blank lines are skipped."""
    names = data.split(",")
    if len(names) != 2:
        raise DataError(f"'{data}' names {len(names)} lists; expected REAL.txt,FAKE.txt.")
    return _read(Path(names[0]), Label.REAL) + _read(Path(names[1]), Label.FAKE)


def _read(path: Path, label: Label) -> list[Sample]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"the list {path} cannot be read: {error}", code="not_found") from error
    return [
        Sample(
            path=path.parent / line,
            label=label,
            generator=path.stem if label is Label.FAKE else "",
            source=path.stem,
            group=path.stem,
        )
        for line in lines
        if line.strip()
    ]
