"""`veridical difficulty`: how fast an experiment learns a set."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help, format_option
from veridical.cli._printing import print_table


@click.command()
@click.argument("experiment")
@click.option("--data", help=f"Splits train and val (or train alone) of: {data_option_help}")
@click.option(
    "--every", type=click.IntRange(1), default=5, show_default=True, help="Steps between validations."
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the experiment or a setting of its architecture.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/difficulty"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw it, as SVG, to this file.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:0.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Threads that read pictures."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads that compute.")
@format_option
def difficulty(
    experiment: str,
    data: str | None,
    every: int,
    changes: tuple[str, ...],
    output: Path,
    plot: Path | None,
    device: str,
    workers: int,
    threads: int,
    format: str,
) -> None:
    """The learning curve of EXPERIMENT inside its first epoch: validation AUROC every few steps."""
    import dataclasses

    with needs_extra("train", "training"):
        import torch

        from veridical.training.difficulty import learning_curve
        from veridical.training.experiment import load_experiment, with_changes
        from veridical.training.loop import Run

    torch.set_num_threads(threads)
    chosen = with_changes(load_experiment(experiment), changes)
    if data is not None:
        chosen = dataclasses.replace(chosen, data=data)
    run = Run(folder=output, device=device, workers=workers, say=_to_stderr)
    points = learning_curve(chosen, run, every=every)
    if format == "json":
        import msgspec

        found = {"experiment": chosen.name, "data": chosen.data, "every": every, "curve": points}
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        rows = [("step", "samples seen", "validation AUROC", "95 % interval", "n")]
        for point in points:
            area = point.auroc
            interval = f"{area.low:.3f} to {area.high:.3f}"
            rows.append((str(point.step), str(point.samples_seen), f"{area.value:.3f}", interval, str(area.n)))
        print_table(rows)
    if plot is not None:
        from veridical.files import replace_file
        from veridical.reports.line_plots import line_plot

        svg = line_plot(
            [point.samples_seen for point in points],
            {"validation AUROC": [point.auroc for point in points]},
            title=f"{chosen.name}: validation AUROC inside the first epoch, with 95 % intervals",
            x_label="training pictures seen",
            y_label="AUROC",
        )
        replace_file(plot, svg.encode())


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)
