"""Small tables and JSON objects on stdout, for commands whose answer is short."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from veridical.reports.escaping import visible

if TYPE_CHECKING:
    from veridical.models.card import Estimate


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last is free, so that nothing is cut."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        print("  ".join([*padded, row[-1]]))


def print_json(value: object) -> None:
    """One JSON object, indented, in ASCII."""
    print(json.dumps(value, indent=2))


def print_encoded(value: object) -> None:
    """One JSON object, indented, of dataclasses and what they hold."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def to_stderr(line: str) -> None:
    """Say a line of progress, apart from the answer."""
    click.echo(line, err=True)


def compact(estimate: Estimate) -> str:
    """An estimate in a cell of a wide table: its value and, in brackets, its interval."""
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def terse(cell: object) -> str:  # object: a cell, whose types are not imported with the command
    """A cell of a table: text as it is, an estimate with its interval, "-" for what is not known."""
    from veridical.models.card import Estimate

    if not isinstance(cell, Estimate):
        return str(cell) or "-"
    if cell.value != cell.value:  # nan
        return "-"
    return f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
