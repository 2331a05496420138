"""JSON Lines: one report a line, as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from veridical.reports import About, Entry
from veridical.reports.escaping import json_line


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """One line for each entry."""
    for entry in entries:
        yield json_line(entry.report.to_json()) + "\n"
