"""`veridical robustness`: what perturbations do to detectors, from stored predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_or_markdown_option, rounds_option
from veridical.cli._printing import print_encoded, print_table, terse

if TYPE_CHECKING:
    from veridical.evaluation.robustness import Cells, Robustness
    from veridical.reports.benchmark.tables import Table

_COLUMNS = {
    "auroc": "AUROC",
    "auroc_change": "change",
    "tpr_at_fpr_5": "TPR at 5 % FPR",
    "tpr_at_fpr_5_change": "change",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_change": "change",
    "verdict_flips": "verdicts flipped",
    "verdicts_lost": "verdicts lost",
    "verdict_changes": "answers changed",
    "fakes_become_real": "AI becomes real",
    "half_crossed": "crossed 0.5",
}
_RANKING = ("auroc", "auroc_change", "tpr_at_fpr_5", "tpr_at_fpr_5_change")
_VERDICTS = (
    "balanced_accuracy",
    "balanced_accuracy_change",
    "verdict_flips",
    "verdicts_lost",
    "verdict_changes",
    "fakes_become_real",
)
_OF_GENERATORS = ("auroc", "auroc_change", "verdict_flips", "half_crossed")

_CAPTION = (
    "95 % intervals: Wilson's for shares, else those of a bootstrap of {rounds} rounds that draws the same "
    "samples with and without the perturbation. Change: from the same samples as they are. Verdicts flipped, "
    "lost: share of the verdicts on samples as they are that become the opposite, or unsure; none where there "
    "are no verdicts. Crossed 0.5: share of all scores."
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@format_or_markdown_option
@rounds_option
def robustness(file: Path, format: str, rounds: int) -> None:
    """How much each perturbation costs each detector: operation, severity, generator.

    FILE is made by `veridical predict DETECTOR... --data SOURCE --perturbation all -o FILE`.
    """
    with needs_extra("bench", "robustness"):
        from veridical.evaluation.predictions import read_predictions
        from veridical.evaluation.robustness import measure, to_json
        from veridical.reports.benchmark.table_formats import to_markdown

    measured = measure(read_predictions(file), rounds=rounds)
    for detector, rows in measured.items():
        for name, found in rows.items():
            if found.left_out:
                click.echo(f"{detector}, {name}: {found.left_out} samples lack one of two scores", err=True)
    if format == "json":
        intervals = {"rounds": rounds, "seed": 0, "drawn": "samples"}
        print_encoded({"detectors": to_json(measured), "intervals": intervals})
        return
    caption = _CAPTION.format(rounds=rounds)
    if format == "table":
        click.echo(caption)
    for table in _tables(measured, caption):
        if format == "md":
            click.echo(to_markdown(table))
        else:
            click.echo(f"\n{table.title}\n")
            print_table([table.columns, *([terse(cell) for cell in row] for row in table.rows)])


def _tables(measured: Mapping[str, Mapping[str, Robustness]], caption: str) -> Iterator[Table]:
    from veridical.reports.benchmark.tables import Table

    for detector, rows in measured.items():
        every = {(name, found.severity): found.cells for name, found in rows.items()}
        generators = {
            (name, generator): cells
            for name, found in rows.items()
            for generator, cells in found.generators.items()
        }
        for kind, title, second, cells_of, cells in (
            ("ranking", "ranking", "severity", every, _RANKING),
            ("verdicts", "verdicts", "severity", every, _VERDICTS),
            (
                "generators",
                "generators, their fakes against all reals",
                "generator",
                generators,
                _OF_GENERATORS,
            ),
        ):
            yield Table(
                name=f"robustness_{kind}",
                title=f"{detector}: {title}",
                caption=caption,
                columns=("perturbation", second, "n", *(_COLUMNS[cell] for cell in cells)),
                rows=tuple((*names, _n(of), *(of.get(c, "") for c in cells)) for names, of in cells_of.items()),
            )


def _n(cells: Cells) -> int:
    """The number of samples, or of a generator's fakes."""
    return cells["half_crossed"].n
