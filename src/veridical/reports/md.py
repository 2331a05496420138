"""A Markdown table, for an issue or a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from veridical.explanation.words import VERDICT_WORDS, account, probability
from veridical.reports import About, Entry
from veridical.reports.escaping import markdown_cell
from veridical.reports.summary import Summary
from veridical.results import Report


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The table, what the verdict rests on if there is only one, then a line that counts the verdicts."""
    summary = Summary()
    yield "| Verdict | Probability of AI | File | Note |\n| --- | --- | --- | --- |\n"
    only: Report | None = None
    for entry in entries:
        yield _row(entry.report)
        summary.add(entry.report)
        only = entry.report if summary.files == 1 else None
    for part in account(only) if only else ():
        yield f"\n**{part.heading}**\n\n"
        yield from (f"* {markdown_cell(sentence)}\n" for sentence in part.sentences)
    yield f"\n{summary.sentence()}.\n"
    if shares := summary.shares_sentence():
        yield f"\n{shares}\n"


def _row(report: Report) -> str:
    note = report.error.message if report.error else ", ".join(report.warnings)
    cells = (VERDICT_WORDS[report.verdict], probability(report), report.path or "", note)
    return f"| {' | '.join(markdown_cell(cell) for cell in cells)} |\n"
