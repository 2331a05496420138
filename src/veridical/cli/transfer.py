"""`veridical transfer`: trained here, tested there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help, format_option, rounds_option
from veridical.cli._printing import compact, print_encoded, print_table, to_stderr
from veridical.cli._training_options import training_options

if TYPE_CHECKING:
    from veridical.data.samples import Sample
    from veridical.evaluation.benchmark import Cells
    from veridical.evaluation.predictions import Prediction
    from veridical.evaluation.transfer import Transfer

_CELLS = ("auroc", "balanced_accuracy", "accuracy", "real_accuracy", "fake_accuracy")


@click.command()
@click.argument("subject")
@click.option(
    "--test",
    "tests",
    multiple=True,
    required=True,
    help=f"Its split test, where it has one, else all of it; may be repeated. {data_option_help}",
)
@click.option("--train", "data", help="Train the experiment SUBJECT on this set first.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/transfer"),
    show_default=True,
    help="With --train: folder of the runs.",
)
@click.option("--predictions", type=click.Path(path_type=Path), help="Also store the predictions here.")
@training_options
@rounds_option
@format_option
def transfer(
    subject: str,
    tests: tuple[str, ...],
    data: str | None,
    output: Path,
    predictions: Path | None,
    rounds: int,
    format: str,
    **how: Any,  # the options that open a run
) -> None:
    """Judge other sets than its own by SUBJECT, a detector (or with --train an experiment).

    By set, generator, source and content. Verdicts are at 0.5.
    """
    with needs_extra("bench", "benchmarks"):
        from veridical.evaluation.predictions import write_predictions
        from veridical.evaluation.transfer import transfer_table

    sets = {name: _read(name) for name in tests}
    found = _judge(subject, sets) if data is None else _train(subject, sets, data=data, folder=output, **how)
    if predictions is not None:
        write_predictions(predictions, (row for rows in found.values() for row in rows))
    table = transfer_table(found, rounds=rounds)
    if format == "json":
        _print_json(subject, data, table)
        return
    rows = [("set", "what", "n", *_CELLS), *(row for name, one in table.items() for row in _rows(name, one))]
    print_table(rows)


def _read(name: str) -> list[Sample]:
    from veridical.data.samples import read_samples

    samples = read_samples(name)
    tested = [sample for sample in samples if sample.split == "test"]
    chosen = tested or samples
    click.echo(f"{name}: {len(chosen)} samples{' of its split test' if tested else ''}", err=True)
    return chosen


def _judge(name: str, sets: Mapping[str, Sequence[Sample]]) -> dict[str, list[Prediction]]:
    import veridical
    from veridical.detectors import load_detector
    from veridical.evaluation.predictions import predict

    detector = load_detector(name)
    return {
        data: list(predict(detector, samples, code=veridical.__version__)) for data, samples in sets.items()
    }


def _train(name: str, sets: Mapping[str, Sequence[Sample]], **how: Any) -> dict[str, list[Prediction]]:
    with needs_extra("train", "training"):
        from veridical.training.run import open_run
        from veridical.training.transfer import train_and_judge

    experiment, run = open_run(name, say=to_stderr, **how)
    return train_and_judge(experiment, sets, run)


def _rows(name: str, one: Transfer) -> Iterator[tuple[str, ...]]:
    found = one.benchmark
    yield _row(name, "all", found.metrics)
    for kind, table in (
        ("generator", found.generators),
        ("source", found.sources),
        ("super-class", one.super_classes),
        ("content", found.contents),
    ):
        yield from (_row(name, f"{kind} {row}", cells) for row, cells in table.items())


def _row(name: str, what: str, cells: Cells) -> tuple[str, ...]:
    numbers = (_cell(cells, cell) for cell in _CELLS)
    return (name, what, str(max(cell.n for cell in cells.values())), *numbers)


def _cell(cells: Cells, name: str) -> str:
    if name not in cells or not cells[name].n:
        return "-"
    return compact(cells[name])


def _print_json(subject: str, data: str | None, table: Mapping[str, Transfer]) -> None:
    tests = {
        name: {
            "metrics": one.benchmark.metrics,
            "generators": one.benchmark.generators,
            "sources": one.benchmark.sources,
            "super_classes": one.super_classes,
            "contents": one.benchmark.contents,
        }
        for name, one in table.items()
    }
    print_encoded({"subject": subject, "trained_on": data, "tests": tests})
