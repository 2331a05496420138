"""A table for a terminal: the verdict in words first, the number second, one line a file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from veridical.explanation.words import VERDICT_WORDS, account, probability
from veridical.reports import About, Entry
from veridical.reports.escaping import visible
from veridical.results import Report, Verdict

# The file comes last, so that the widths of the columns before it are known before the first row is.
_VERDICT_WIDTH = max(map(len, VERDICT_WORDS.values()))
_PROBABILITY_WIDTH = len("100 % (not calibrated)")
_NARROWEST, _WIDEST = 40, 100
_COLOURS = {Verdict.AI: "1;33", Verdict.REAL: "1;36", Verdict.UNSURE: "1;35", Verdict.ERROR: "1;31"}


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The heading, a row for each entry, and, when there is only one, the evidence for it."""
    yield _line("VERDICT", "PROBABILITY OF AI", "FILE")
    reports: list[Report] = []
    for entry in entries:
        yield _row(entry.report, colour=about.colour)
        if len(reports) < 2:
            reports.append(entry.report)
    if len(reports) == 1:
        yield from _details(reports[0], width=about.width)


def _row(report: Report, *, colour: bool) -> str:
    name = visible(report.path or "")
    if report.error:
        name = f"{name}: {visible(report.error.message)}"
    line = _line(VERDICT_WORDS[report.verdict], probability(report), name)
    if not colour:
        return line
    words, rest = line[:_VERDICT_WIDTH], line[_VERDICT_WIDTH:]
    return f"\x1b[{_COLOURS[report.verdict]}m{words}\x1b[0m{rest}"


def _line(verdict: str, number: str, name: str) -> str:
    return f"{verdict:<{_VERDICT_WIDTH}}  {number:<{_PROBABILITY_WIDTH}}  {name}\n"


def _details(report: Report, *, width: int) -> Iterator[str]:
    """The verdict's grounds, wrapped; lines longer than a reader's eye can follow help nobody."""
    wrapper = textwrap.TextWrapper(
        width=max(_NARROWEST, min(width, _WIDEST)), initial_indent="    ", subsequent_indent="    "
    )
    for part in account(report):
        yield f"\n  {part.heading}\n"
        for sentence in part.sentences:
            yield wrapper.fill(visible(sentence)) + "\n"
    if report.warnings:
        yield f"\n  Warnings: {visible(', '.join(report.warnings))}\n"
    if report.error and report.error.hint:
        yield f"  {visible(report.error.hint)}\n"
