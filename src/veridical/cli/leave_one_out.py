"""`veridical leave-one-out`: an experiment is trained without each generator, and judges it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help, format_option, rounds_option
from veridical.cli._printing import compact, print_encoded, print_table, to_stderr
from veridical.cli._training_options import training_options

if TYPE_CHECKING:
    from veridical.models.card import Estimate
    from veridical.training.leave_one_out import Key

# What the table shows; JSON has more.
_COLUMNS = ("auroc", "balanced_accuracy", "tpr_at_fpr_5", "ece", "real_accuracy", "fake_accuracy")


@click.command("leave-one-out")
@click.argument("key", type=click.Choice(["generator", "source", "group"]))
@click.argument("experiment")
@click.option("--data", required=True, help=data_option_help)
@click.option("--split", help="Only this split of --data.")
@click.option(
    "--least",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="What has fewer samples is trained on, but not left out.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The predictions (.csv, .parquet); the runs go to a folder beside it.",
)
@training_options
@rounds_option
@format_option
def leave_one_out(
    key: Key,
    experiment: str,
    data: str,
    split: str | None,
    least: int,
    output: Path,
    rounds: int,
    format: str,
    **how: Any,  # the options that open a run
) -> None:
    """Train EXPERIMENT without each generator, source or group of --data, and judge what was left out."""
    with needs_extra("train", "training"):
        from veridical.evaluation.fold_table import fold_table, mean_of_folds
        from veridical.evaluation.predictions import write_predictions
        from veridical.training.leave_one_out import judge_left_out
        from veridical.training.run import open_run

    folder = output.with_name(output.name + ".runs")
    chosen, run = open_run(experiment, data=data, folder=folder, say=to_stderr, **how)
    found = judge_left_out(chosen, run, key, split=split, least=least)
    write_predictions(output, (row for rows in found.values() for row in rows))
    table = fold_table(found, rounds=rounds)
    means = mean_of_folds(table)
    if format == "json":
        print_encoded({"experiment": chosen.name, "left_out": key, "folds": table, "mean": means})
        return
    rows = [("left out", "n", *_COLUMNS), *(_row(name, cells) for name, cells in table.items())]
    print_table([*rows, _row(f"mean of {len(table)} folds", means)])


def _row(name: str, cells: Mapping[str, Estimate]) -> tuple[str, ...]:
    numbers = (compact(cells[cell]) if cell in cells else "-" for cell in _COLUMNS)
    return (name, str(max(cell.n for cell in cells.values())), *numbers)
