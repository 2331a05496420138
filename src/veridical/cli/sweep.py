"""`veridical sweep`: what a detector's verdicts are worth at one threshold after another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_or_markdown_option, rounds_option
from veridical.cli._printing import compact, print_encoded, print_table

if TYPE_CHECKING:
    from veridical.evaluation.sweep import Sweep

_WARNING = "The best thresholds are those of these very samples: elsewhere they are worse."

# What the plot shows; the table has all.
_PLOTTED = ("accuracy", "balanced_accuracy", "macro_f1", "recall_fake", "recall_real", "mcc")


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--detector", help="Only this one; needed for --plot where the file holds several.")
@format_or_markdown_option
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw it, as SVG, to this file.")
@rounds_option
def sweep(predictions: Path, detector: str | None, format: str, plot: Path | None, rounds: int) -> None:
    """Metrics of stored PREDICTIONS at thresholds from 0.1 to 0.9, and the best threshold for each metric."""
    from veridical.errors import UsageError

    with needs_extra("bench", "threshold sweeps"):
        from veridical.evaluation.benchmark import by_detector
        from veridical.evaluation.predictions import as_arrays, read_predictions
        from veridical.evaluation.sweep import sweep as sweep_scores

    rows, left_out = by_detector(read_predictions(predictions))
    if left_out:
        click.echo(f"left out: {left_out.total()} rows of perturbed pictures", err=True)
    chosen = {name: rows[name] for name in rows if detector in (None, name)}
    if not chosen or (plot is not None and len(chosen) > 1):
        raise UsageError("Which detector is not said.", hint=f"--detector takes {', '.join(rows)}.")
    found: dict[str, Sweep] = {}
    for name, own in chosen.items():
        labels, scores, _ = as_arrays(own)
        found[name] = sweep_scores(labels, scores, rounds=rounds)
    _print(found, format)
    click.echo(_WARNING, err=True)
    if plot is not None:
        ((name, only),) = found.items()
        _draw(plot, name, only)


def _print(found: Mapping[str, Sweep], format: str) -> None:
    if format == "json":
        detectors = {name: _to_json(one) for name, one in found.items()}
        print_encoded({"detectors": detectors})
        return
    for name, one in found.items():
        rows = [("metric", *(f"{threshold:g}" for threshold in one.thresholds), "best at")]
        for metric, cells in one.metrics.items():
            best = f"{one.best[metric]:g}" if metric in one.best else "-"
            rows.append((metric, *map(compact, cells), best))
        if format == "table":
            click.echo(f"\n{name}: value and 95 % interval, n={one.metrics['accuracy'][0].n}")
            print_table(rows)
        else:
            click.echo(_markdown(name, rows))


def _to_json(one: Sweep) -> dict[str, object]:  # object: a list of thresholds beside a mapping
    steps = [
        {"threshold": threshold, **{metric: cells[place] for metric, cells in one.metrics.items()}}
        for place, threshold in enumerate(one.thresholds)
    ]
    return {"thresholds": steps, "best": one.best, "warning": _WARNING}


def _markdown(name: str, rows: list[tuple[str, ...]]) -> str:
    from veridical.reports.benchmark.table_formats import to_markdown
    from veridical.reports.benchmark.tables import Table

    head, *body = rows
    caption = f"Value and 95 % interval at each threshold. {_WARNING}"
    return to_markdown(Table("sweep", f"{name}: thresholds", caption, head, tuple(body)))


def _draw(path: Path, name: str, one: Sweep) -> None:
    from veridical.files import replace_file
    from veridical.reports.line_plots import line_plot

    svg = line_plot(
        one.thresholds,
        {metric: one.metrics[metric] for metric in _PLOTTED},
        title=f"{name}: metrics by threshold, with 95 % intervals",
        x_label="threshold: fake from this score on",
        y_label="value",
    )
    replace_file(path, svg.encode())
