"""`veridical bench`: tables made from stored predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_option

if TYPE_CHECKING:
    from veridical.evaluation.predictions import Prediction
    from veridical.models.card import Estimate


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@format_option
@click.option(
    "--rounds",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    help="Bootstrap draws of an interval.",
)
def bench(predictions: Path, format: str, rounds: int) -> None:
    """Tables from a file that `veridical predict` wrote: every number with its 95 % interval and its n."""
    with needs_extra("bench", "benchmarks"):
        from veridical.evaluation.benchmark import per_generator, per_source, summarise
        from veridical.evaluation.predictions import read_predictions

    by_detector: dict[str, list[Prediction]] = {}
    for row in read_predictions(predictions):
        by_detector.setdefault(row.detector, []).append(row)
    results: dict[str, object] = {}  # object: metrics beside tables, as in the JSON
    for name, rows in by_detector.items():
        metrics, generators = summarise(rows, rounds=rounds), per_generator(rows, rounds=rounds)
        sources = per_source(rows)
        results[name] = {**metrics, "generators": generators, "sources": sources}
        if format == "table":
            _print_table(f"{name}: all samples", {"all": metrics})
            _print_table(f"{name}: fakes by generator, against all reals", generators)
            _print_table(f"{name}: reals by source", sources)
    if format == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"detectors": results})).decode())


def _print_table(title: str, rows: dict[str, dict[str, Estimate]]) -> None:
    click.echo(f"\n{title}")
    for name, cells in rows.items():
        for metric, cell in cells.items():
            click.echo(
                f"  {name:<24} {metric:<18} {cell.value:6.3f}  [{cell.low:.3f}, {cell.high:.3f}]  n={cell.n}"
            )
