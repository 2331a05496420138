"""`veridical bench --leave-one-out`: an experiment is trained without each generator, and judges it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help
from veridical.cli._printing import print_table
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.models.card import Estimate
    from veridical.training.leave_one_out import Key

# What the table shows; JSON has more.
_COLUMNS = ("auroc", "balanced_accuracy", "tpr_at_fpr_5", "ece", "real_accuracy", "fake_accuracy")

_OPTIONS = (
    click.option(
        "--leave-one-out",
        "key",
        type=click.Choice(["generator", "source", "group"]),
        help="Train the experiment FILE on --data without each of these, and measure it on what was left out.",
    ),
    click.option("--data", help=f"For --leave-one-out: {data_option_help}"),
    click.option("--split", help="For --leave-one-out: only this split of --data."),
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="NAME=VALUE",
        help="For --leave-one-out: a field of the experiment or a setting of its architecture.",
    ),
    click.option(
        "--least",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="For --leave-one-out: what has fewer samples is trained on, but not left out.",
    ),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="For --leave-one-out: the predictions (.csv, .parquet); the runs go to a folder beside it.",
    ),
    click.option("--device", default="cpu", show_default=True, help="For --leave-one-out: cpu, cuda, cuda:0."),
    click.option(
        "--workers", type=click.IntRange(1), default=1, show_default=True, help="Threads that read pictures."
    ),
    click.option(
        "--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads that compute."
    ),
)


def or_leave_one_out(measure: Callable[..., None]) -> Callable[..., None]:
    """The command with `--leave-one-out` and its options, which `measure` itself never sees."""

    @functools.wraps(measure)
    def either(
        key: Key | None,
        data: str | None,
        split: str | None,
        changes: tuple[str, ...],
        least: int,
        output: Path | None,
        device: str,
        workers: int,
        threads: int,
        **others: object,  # the options of `measure`
    ) -> None:
        if key is None:
            if data is not None or output is not None or changes:
                raise UsageError("--data, --set and -o belong to --leave-one-out.")
            return measure(**others)
        files = cast("tuple[Path, ...]", others["files"])
        if len(files) != 1 or data is None or output is None or others["format"] not in ("table", "json"):
            raise UsageError(
                "--leave-one-out takes one experiment, --data and -o, and prints a table or JSON.",
                hint="veridical bench --leave-one-out generator clip_linear --data SET -o folds.parquet",
            )
        return _run(
            str(files[0]),
            key,
            data=data,
            split=split,
            changes=changes,
            least=least,
            output=output,
            device=device,
            workers=workers,
            threads=threads,
            as_json=others["format"] == "json",
            rounds=cast("int", others["rounds"]),
        )

    for option in reversed(_OPTIONS):
        either = option(either)
    return either


def _run(
    name: str,
    key: Key,
    *,
    data: str,
    split: str | None,
    changes: tuple[str, ...],
    least: int,
    output: Path,
    device: str,
    workers: int,
    threads: int,
    as_json: bool,
    rounds: int,
) -> None:
    with needs_extra("train", "training"):
        import torch

        from veridical.data.samples import read_samples
        from veridical.evaluation.fold_table import fold_table, mean_of_folds
        from veridical.evaluation.predictions import write_predictions
        from veridical.training.experiment import load_experiment, with_changes
        from veridical.training.leave_one_out import folds, leave_one_out
        from veridical.training.loop import Run

    torch.set_num_threads(threads)
    experiment = with_changes(load_experiment(name), changes)
    run = Run(folder=output.with_name(output.name + ".runs"), device=device, workers=workers, say=_to_stderr)
    every = folds(read_samples(data, split), key, seed=experiment.seed, least=least)
    found = {fold.name: rows for fold, rows in leave_one_out(experiment, every, run)}
    write_predictions(output, (row for rows in found.values() for row in rows))
    table = fold_table(found, rounds=rounds)
    means = mean_of_folds(table)
    if as_json:
        import msgspec

        result = {"experiment": experiment.name, "left_out": key, "folds": table, "mean": means}
        click.echo(msgspec.json.format(msgspec.json.encode(result)).decode())
        return
    rows = [("left out", "n", *_COLUMNS), *(_row(name, cells) for name, cells in table.items())]
    print_table([*rows, _row(f"mean of {len(table)} folds", means)])


def _row(name: str, cells: Mapping[str, Estimate]) -> tuple[str, ...]:
    numbers = (
        f"{cells[cell].value:.3f} ({cells[cell].low:.3f}-{cells[cell].high:.3f})" if cell in cells else "-"
        for cell in _COLUMNS
    )
    return (name, str(max(cell.n for cell in cells.values())), *numbers)


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)
