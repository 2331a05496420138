"""`veridical difficulty`: how fast an experiment learns a set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help, format_option
from veridical.cli._printing import print_encoded, print_table, to_stderr
from veridical.cli._training_options import training_options


@click.command()
@click.argument("experiment")
@click.option("--data", help=f"Splits train and val (or train alone) of: {data_option_help}")
@click.option(
    "--every", type=click.IntRange(1), default=5, show_default=True, help="Steps between validations."
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
@training_options
@format_option
def difficulty(
    experiment: str,
    data: str | None,
    every: int,
    output: Path,
    plot: Path | None,
    format: str,
    **how: Any,  # the options that open a run
) -> None:
    """The learning curve of EXPERIMENT inside its first epoch: validation AUROC every few steps."""
    with needs_extra("train", "training"):
        from veridical.training.difficulty import learning_curve
        from veridical.training.run import open_run

    chosen, run = open_run(experiment, data=data, folder=output, say=to_stderr, **how)
    points = learning_curve(chosen, run, every=every)
    if format == "json":
        print_encoded({"experiment": chosen.name, "data": chosen.data, "every": every, "curve": points})
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
