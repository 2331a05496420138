"""`veridical predict`: a labelled set and detectors become stored predictions."""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help
from veridical.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from veridical.evaluation.predictions import Unjudged


def _suffix(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    if value.suffix not in (".csv", ".parquet"):
        raise click.BadParameter(f"{value} ends neither in .parquet nor in .csv.")
    return value


@click.command()
@click.argument("detectors", metavar="DETECTOR...", nargs=-1, required=True)
@click.option("--data", required=True, help=data_option_help)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    callback=_suffix,
    help="The predictions file, .parquet or .csv.",
)
@click.option("--split", help="Only this split of the data.")
@click.option(
    "--perturbation",
    "perturbations",
    metavar="NAME",
    multiple=True,
    help="Also judge every sample after this perturbation, such as jpeg_75; 'all', or the 'deliveries' of a "
    "release. May be repeated.",
)
@click.option(
    "--allow-unreadable",
    is_flag=True,
    help="Go on at a sample that cannot be judged; count it, and list it beside the output.",
)
def predict(
    detectors: tuple[str, ...],
    data: str,
    output: Path,
    split: str | None,
    perturbations: tuple[str, ...],
    allow_unreadable: bool,
) -> None:
    """Judge every sample of a labelled set with each DETECTOR (name or folder) and store the scores.

    The same command goes on where an earlier one was interrupted, and ends with the same file; what is done is
    kept in OUTPUT.journal until then. A sample that cannot be read, or is too small, stops the run with its
    path, unless --allow-unreadable: then OUTPUT.unjudged.csv lists it.
    """
    import veridical

    with needs_extra("bench", "predictions"):
        from veridical.data.samples import read_samples
        from veridical.detectors import load_detector
        from veridical.evaluation.prediction_run import PredictionRun

    loaded = [load_detector(name) for name in detectors]
    if twice := [name for name, count in collections.Counter(d.name for d in loaded).items() if count > 1]:
        raise UsageError(f"Two of the detectors are called '{twice[0]}'.", hint="Give each a file of its own.")
    run = PredictionRun(
        output=output,
        detectors=loaded,
        samples=read_samples(data, split),
        perturbations=_chosen(perturbations),
        code=veridical.__version__,
        allow_unreadable=allow_unreadable,
    )
    with _progress(len(run.samples)) as on_progress:
        count, unjudged = run.finish(on_progress)
    click.echo(f"{count} predictions in {output}", err=True)
    if unjudged:
        click.echo(f"not judged: {_counted(unjudged)}; see {run.unjudged_path}", err=True)


def _chosen(names: Sequence[str]) -> list[str]:
    """The perturbations meant, the picture as it is always first."""
    from veridical.data.perturbations import DELIVERIES, NAMED

    groups = {"all": tuple(NAMED), "deliveries": DELIVERIES}
    for name in names:
        if name not in NAMED and name not in groups:
            hint = did_you_mean(name, [*NAMED, *groups])
            raise UsageError(f"There is no perturbation '{name}'.", hint=hint)
    chosen = {"none", *(each for name in names for each in groups.get(name, (name,)))}
    return [name for name in NAMED if name in chosen]


def _counted(unjudged: Sequence[Unjudged]) -> str:
    """The number of samples of each class that lack at least one score: `2 fake, 1 real`."""
    samples = {(row.path, row.box): row.label for row in unjudged}
    counts = collections.Counter(samples.values())
    return ", ".join(f"{counts[label]} {label}" for label in sorted(counts))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many samples are done: shows them on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
