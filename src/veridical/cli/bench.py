"""`veridical bench`: tables made from stored predictions, ours and anyone's."""

from __future__ import annotations

import csv
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import rounds_option
from veridical.cli._output import opened
from veridical.cli._printing import print_encoded, print_table, terse
from veridical.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from veridical.evaluation.benchmark import Benchmark
    from veridical.evaluation.comparison import Comparison
    from veridical.evaluation.predictions import Prediction
    from veridical.reports.benchmark.measured import Results
    from veridical.reports.benchmark.tables import Table

_WIDTH = 100


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--predictions",
    "others",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Anyone's scores (.csv, .csv.gz, .parquet) with columns label and score; may be repeated.",
)
@click.option(
    "--score-columns",
    multiple=True,
    metavar="NAME,...",
    help="Columns of --predictions that hold a detector's scores each. [default: by their names]",
)
@click.option(
    "--missing",
    type=click.Choice(["leave-out", "abstain"]),
    default="leave-out",
    show_default=True,
    help="A sample without a score in --predictions is left out, or scores 0.5 and gets no verdict.",
)
@click.option(
    "--perturbation", default="none", show_default=True, help="Measure the rows of this perturbation alone."
)
@click.option("--by-group", is_flag=True, help="Draw whole groups (publishers) for the intervals.")
@click.option("--compare", nargs=2, metavar="A B", help="Also the difference of two detectors.")
@click.option(
    "--format",
    type=click.Choice(["table", "json", "md", "csv", "latex"]),
    default="table",
    show_default=True,
    help="Tables for the terminal, one JSON object, Markdown, one row a number, or LaTeX.",
)
@rounds_option
@click.option(
    "--html", type=click.Path(path_type=Path), help="Also write a page with tables, figures and errors (.html)."
)
@click.option(
    "--tables",
    "tables_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write each table as .md, .csv and .tex to this folder.",
)
@click.option(
    "--lists",
    "lists_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the paths of each detector's fp, fn, tp and tn at 0.5 to this folder.",
)
def bench(
    files: tuple[Path, ...],
    others: tuple[Path, ...],
    score_columns: tuple[str, ...],
    missing: str,
    perturbation: str,
    by_group: bool,
    compare: tuple[str, str] | None,
    format: str,
    rounds: int,
    html: Path | None,
    tables_folder: Path | None,
    lists_folder: Path | None,
) -> None:
    """Tables from FILEs that `veridical predict` wrote: every number with its 95 % interval and its n."""
    with needs_extra("bench", "benchmarks"):
        from veridical.evaluation.benchmark import by_detector, measure
        from veridical.evaluation.comparison import compare as compare_detectors
        from veridical.evaluation.predictions import read_predictions
        from veridical.reports.benchmark.measured import results

    if not files and not others:
        raise UsageError("There is nothing to measure.", hint="Name a file of predictions.")
    rows = [row for file in files for row in read_predictions(file)]
    theirs, lacking = _external(others, score_columns, missing_is_abstention=missing == "abstain")
    rows += theirs
    chosen, left_out = by_detector(rows, perturbation=perturbation)
    for name in compare or ():
        if name not in chosen:
            raise UsageError(f"There is no detector '{name}'. {did_you_mean(name, chosen)}")
    for name, count in sorted(left_out.items()):
        click.echo(f"left out: {count} rows with perturbation '{name}'", err=True)
    benchmarks = {name: measure(own, rounds=rounds, by_group=by_group) for name, own in chosen.items()}
    comparison = None
    if compare:
        first, second = (chosen[name] for name in compare)
        comparison = compare_detectors(first, second, rounds=rounds, by_group=by_group)
    measured = results(chosen, benchmarks, every_row=rows, rounds=rounds, by_group=by_group)
    _write_files(measured, html=html, tables_folder=tables_folder, lists_folder=lists_folder)
    if format == "json":
        about = {
            "perturbation": perturbation,
            "left_out": left_out,
            "missing": lacking,
            "intervals": {"rounds": rounds, "seed": 0, "drawn": "groups" if by_group else "samples"},
        }
        _print_json(benchmarks, comparison, about)
    elif format == "csv":
        _print_csv(benchmarks, comparison)
    else:
        _print_tables(measured, comparison, format=format)


def _write_files(
    measured: Results, *, html: Path | None, tables_folder: Path | None, lists_folder: Path | None
) -> None:
    if html:
        with needs_extra("bench", "the figures of a page"):
            from veridical.reports.benchmark.page import render

        text = render(measured)
        with opened(html) as page:
            page.write(text)
    try:
        if tables_folder:
            from veridical.reports.benchmark.table_formats import write_tables
            from veridical.reports.benchmark.tables import all_tables

            write_tables(tables_folder, all_tables(measured))
        if lists_folder:
            from veridical.reports.benchmark.outcomes import write_lists

            write_lists(lists_folder, measured.detectors)
    except OSError as error:
        raise UsageError(f"Cannot write {error.filename}: {error.strerror or error}.") from error


def _external(
    files: Sequence[Path], score_columns: Sequence[str], *, missing_is_abstention: bool
) -> tuple[list[Prediction], dict[str, dict[str, int]]]:
    """The predictions in `files`, and of each detector the scores that are missing."""
    from veridical.evaluation.external import read_external

    if score_columns and not files:
        raise UsageError("--score-columns are those of --predictions.", hint="Name a file with --predictions.")
    columns = [name.strip() for names in score_columns for name in names.split(",")]
    predictions: list[Prediction] = []
    missing: dict[str, dict[str, int]] = {}
    for file in files:
        read = read_external(file, score_columns=columns, missing_is_abstention=missing_is_abstention)
        predictions += read.predictions
        for name, counts in read.missing.items():
            became = "count as abstentions" if missing_is_abstention else "are left out"
            click.echo(
                f"{name}: {counts['real']} reals and {counts['fake']} fakes have no score, and {became}",
                err=True,
            )
            missing[name] = {"real": counts["real"], "fake": counts["fake"]}
    return predictions, missing


def _print_json(
    benchmarks: Mapping[str, Benchmark], comparison: Comparison | None, about: Mapping[str, object]
) -> None:
    from veridical.evaluation.benchmark import to_json

    found: dict[str, object] = {"detectors": to_json(benchmarks), **about}
    if comparison is not None:
        found["comparison"] = comparison
    print_encoded(found)


def _print_csv(benchmarks: Mapping[str, Benchmark], comparison: Comparison | None) -> None:
    from veridical.evaluation.benchmark import to_rows
    from veridical.reports.escaping import csv_cell

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["detector", "table", "row", "metric", "value", "low", "high", "n"])
    rows = list(to_rows(benchmarks))
    if comparison is not None:
        names = f"{comparison.first} - {comparison.second}"
        rows += [(names, "comparison", "all", metric, e) for metric, e in comparison.differences.items()]
    for *names_of_cell, estimate in rows:
        cells = [csv_cell(str(name)) for name in names_of_cell]
        writer.writerow([*cells, estimate.value, estimate.low, estimate.high, estimate.n])


def _print_tables(measured: Results, comparison: Comparison | None, *, format: str) -> None:
    from veridical.reports.benchmark.table_formats import to_latex, to_markdown
    from veridical.reports.benchmark.tables import all_tables

    tables = all_tables(measured)
    if comparison is not None:
        tables.append(_comparison_table(comparison))
    if format == "table":
        click.echo(textwrap.fill(f"{measured.wilson} Otherwise {measured.bootstrap}", _WIDTH))
    for table in tables:
        if format == "md":
            click.echo(to_markdown(table))
        elif format == "latex":
            click.echo(to_latex(table))
        else:
            _print_fitting(table)


def _comparison_table(comparison: Comparison) -> Table:
    from veridical.reports.benchmark.tables import Table, metric_heading

    first, second = comparison.first, comparison.second
    tests = [("at 0.5", comparison.verdicts_at_half)]
    if comparison.verdicts_at_threshold:
        tests.append(("at own threshold", comparison.verdicts_at_threshold))
    left_out = f"{comparison.left_out[0]} that only {first} and {comparison.left_out[1]} that only {second}"
    return Table(
        name="comparison",
        title=f"{first} less {second}",
        caption=f"On the {comparison.n} samples that both have judged (left out: {left_out} has). Differences "
        "with their 95 % bootstrap interval, both measured on the same draws; exact McNemar test of verdicts.",
        columns=("", "difference"),
        rows=(
            *((metric_heading(name), estimate) for name, estimate in comparison.differences.items()),
            *(
                row
                for where, test in tests
                for row in (
                    (f"only {first} right {where}", test.only_first_right),
                    (f"only {second} right {where}", test.only_second_right),
                    (f"p-value (McNemar) {where}", f"{test.p_value:.3g}" if test.p_value else "< 1e-300"),
                )
            ),
        ),
    )


def _print_fitting(table: Table) -> None:
    """The table, in as many parts as it takes for each to be no wider than `_WIDTH`."""
    click.echo(f"\n{table.title}")
    columns = [
        [heading, *(terse(row[place]) for row in table.rows)] for place, heading in enumerate(table.columns)
    ]
    first, *rest = columns
    while rest:
        part, room = [first], _WIDTH - _width(first)
        while rest and (len(part) == 1 or _width(rest[0]) <= room):
            room -= _width(rest[0])
            part.append(rest.pop(0))
        click.echo()
        print_table(list(zip(*part, strict=True)))


def _width(column: Sequence[str]) -> int:
    return max(map(len, column)) + 2
