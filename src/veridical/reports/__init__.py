"""Judged files become text that people and programs read: one module per format; name = file name.

Each format module has `render(entries, about) -> Iterator[str]`. It takes entries as they come and gives text
as soon as it can, so that `table`, `jsonl`, `json`, `csv` and `md` need constant memory however many files
there are; `sarif` and `html` need everything before their first line.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Not while running: `veridical --help` needs the names of the formats and nothing else.
    from veridical.models.card import Card
    from veridical.results import Report


class Format(StrEnum):
    """The formats, and the suffixes of files that hold them."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    SARIF = "sarif"
    HTML = "html"
    MD = "md"


@dataclass(frozen=True)
class Entry:
    """One judged file; `thumbnail` is a `data:` URI (`reports.thumbnail`) for formats that show pictures."""

    report: Report
    thumbnail: str | None = None


@dataclass(frozen=True)
class About:
    """A report's facts beside the files: when it was made, and the card of the model that judged.

    `colour` and `width`, in columns, are those of the terminal.
    """

    made_at: datetime
    card: Card | None = None
    colour: bool = False
    width: int = 80

    @classmethod
    def now(cls, *, card: Card | None = None, colour: bool = False, width: int = 80) -> About:
        """The facts of a report that is made at this moment."""
        return cls(made_at=datetime.now(UTC), card=card, colour=colour, width=width)


def render(name: Format, entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The text of a report in the format `name`, piece by piece.

    Imports only that format: JSON Lines must not wait for a template engine.
    """
    module = importlib.import_module(f"veridical.reports.{name.value}")
    pieces: Iterator[str] = module.render(entries, about)
    return pieces
