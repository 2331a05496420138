"""A table as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from veridical.models.card import Estimate
from veridical.reports.benchmark.tables import Cell, Table
from veridical.reports.escaping import csv_cell, markdown_cell

_LATEX = {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "’": "'", "“": "``", "”": "''", **{sign: f"\\{sign}" for sign in "{}$&#%_"},
}  # fmt: skip
_LATEX_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """NAME.md, NAME.csv and NAME.tex of each table; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for suffix, text in (("md", to_markdown(table)), ("csv", to_csv(table)), ("tex", to_latex(table))):
            (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8", newline="")


def to_markdown(table: Table) -> str:
    """Title, caption and the table; an estimate as `0.900 (0.850 to 0.940)`."""
    lines = [f"## {table.title}", "", table.caption, ""]
    lines.append(_markdown_row([markdown_cell(column) for column in table.columns]))
    lines.append("|---" + "|---:" * (len(table.columns) - 1) + "|")
    lines += [_markdown_row([markdown_cell(cell_text(cell)) for cell in row]) for row in table.rows]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Every digit: an estimate has four columns, its value, `low`, `high` and `n`."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    wide = [any(isinstance(row[i], Estimate) for row in table.rows) for i in range(len(table.columns))]
    writer.writerow(
        csv_cell(heading)
        for column, is_wide in zip(table.columns, wide, strict=True)
        for heading in ([column, f"{column} low", f"{column} high", f"{column} n"] if is_wide else [column])
    )
    for row in table.rows:
        writer.writerow(
            part for cell, is_wide in zip(row, wide, strict=True) for part in _csv_parts(cell, wide=is_wide)
        )
    return held.getvalue()


def to_latex(table: Table) -> str:
    """A `table` environment that needs no package; an estimate has its interval in small letters behind it."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(table.caption)}}}",
        r"\begin{tabular}{l" + "r" * (len(table.columns) - 1) + "}",
        r"\hline",
        " & ".join(_latex(column) for column in table.columns) + r" \\",
        r"\hline",
        *(" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def cell_text(cell: Cell) -> str:
    """A cell's text on one line.

    >>> cell_text(Estimate(value=0.9, low=0.85, high=0.94, n=40))
    '0.900 (0.850 to 0.940)'
    """
    if not isinstance(cell, Estimate):
        return str(cell)
    value, interval = estimate_parts(cell)
    return f"{value} ({interval})" if interval else value


def estimate_parts(estimate: Estimate) -> tuple[str, str]:
    """The value and its interval; a value that is not defined has none."""
    if math.isnan(estimate.value):
        return "not defined", ""
    return f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv_parts(cell: Cell, *, wide: bool) -> Sequence[str | float]:
    if isinstance(cell, Estimate):
        return [cell.value, cell.low, cell.high, cell.n]
    text = csv_cell(cell) if isinstance(cell, str) else cell
    return [text, "", "", ""] if wide else [text]


def _latex(text: str) -> str:
    return _LATEX_SPECIAL.sub(lambda found: _LATEX[found[0]], text)


def _latex_cell(cell: Cell) -> str:
    if not isinstance(cell, Estimate):
        return _latex(str(cell))
    value, interval = estimate_parts(cell)
    return f"{value} {{\\scriptsize ({interval})}}" if interval else value
