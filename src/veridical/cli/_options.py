"""Options that several commands share."""

from __future__ import annotations

import click

format_option = click.option(
    "--format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table, or one JSON object.",
)
format_or_markdown_option = click.option(
    "--format",
    type=click.Choice(["table", "json", "md"]),
    default="table",
    show_default=True,
    help="Tables, one JSON object, or Markdown.",
)
rounds_option = click.option(
    "--rounds",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    help="Bootstrap draws of an interval.",
)
data_option_help = (
    "Manifest (.csv), folder with real/ and fake/, REAL.txt,FAKE.txt, or NAME:PATH (see 'veridical data "
    "list'); several are joined by ';'."
)
