"""One JSON object: every report under `results`, and how many got which verdict under `summary`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from veridical.reports import About, Entry
from veridical.reports.escaping import json_line
from veridical.reports.summary import Summary
from veridical.results import SCHEMA_VERSION


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The object in pieces, one result a line."""
    summary = Summary()
    yield f'{{"schema_version":{SCHEMA_VERSION},"results":['
    for entry in entries:
        yield (",\n" if summary.files else "\n") + json_line(entry.report.to_json())
        summary.add(entry.report)
    yield f'\n],"summary":{json.dumps(summary.to_dict(), separators=(",", ":"))}}}\n'
