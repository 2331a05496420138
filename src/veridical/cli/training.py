"""`veridical train` and `veridical export`: an experiment becomes a checkpoint, a checkpoint a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help
from veridical.cli._printing import print_table, to_stderr
from veridical.cli._training_options import training_options
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.training.export import Int8


@click.command()
@click.argument("experiment")
@click.option("--data", help=f"Splits train and val (or train alone) of: {data_option_help}")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the run; runs/EXPERIMENT by default."
)
@click.option(
    "--start", type=click.Path(path_type=Path), help="A checkpoint of the same architecture to start from."
)
@training_options
@click.option(
    "--save-every", type=click.IntRange(1), default=50, show_default=True, help="Steps between checkpoints."
)
@click.option(
    "--validate-every",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Steps between validations inside an epoch, for the log alone; 0: none.",
)
@click.option(
    "--help-settings",
    is_flag=True,
    help="List what --set can change of EXPERIMENT, with its values; train nothing.",
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events.")
def train(
    experiment: str,
    data: str | None,
    output: Path | None,
    start: Path | None,
    save_every: int,
    validate_every: int,
    tensorboard: bool,
    help_settings: bool,
    **how: Any,  # the options that open a run
) -> None:
    """Train EXPERIMENT (a name, or a .py file that defines one) to the end.

    Its data are audited first, as its network will see them; if they fail, nothing is trained. The same
    command again goes on where it stopped, after whatever interruption. Several GPUs of one machine:
    torchrun --nproc-per-node 2 -m veridical train EXPERIMENT --device cuda ...
    """
    import dataclasses
    import json

    with needs_extra("train", "training"):
        from veridical.training.distributed import joined
        from veridical.training.experiment import list_settings
        from veridical.training.run import open_run, run_experiment

    if help_settings:
        chosen, _ = open_run(experiment, data=data, **how)
        print_table([(name, json.dumps(value)) for name, value in list_settings(chosen).items()])
        return
    with joined() as processes:
        chosen, run = open_run(experiment, data=data, folder=output, say=to_stderr, processes=processes, **how)
        run = dataclasses.replace(
            run, save_every=save_every, validate_every=validate_every, tensorboard=tensorboard
        )
        best = run_experiment(chosen, run, start=start)
    if processes.is_first:
        click.echo(str(best))


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option("--data", help="Data with splits train, val and test: calibrates and measures.")
@click.option("--experiment", help="Its experiment, if that is a .py file of yours.")
@click.option(
    "--int8", "int8", flag_value="static", help="Quantise weights and activations, if validation allows it."
)
@click.option("--int8-weights", "int8", flag_value="weights", help="Quantise weights alone, likewise.")
@click.option("--graph-only", is_flag=True, help="Leave the checkpoint out of the bundle.")
@click.option(
    "--gasbench", is_flag=True, help="Instead of a bundle, the folder that Bittensor's subnet 34 benchmarks."
)
def export(
    checkpoint: Path,
    output: Path,
    data: str | None,
    experiment: str | None,
    int8: Int8 | None,
    graph_only: bool,
    gasbench: bool,
) -> None:
    """Write the bundle of CHECKPOINT: ONNX, card, calibration, thresholds, measured error rates."""
    if gasbench and (data is not None or int8 or graph_only):
        raise UsageError(
            "--gasbench takes no --data, --int8 or --graph-only: it writes the parameters as they are."
        )
    with needs_extra("train", "exports"):
        from veridical.training.export import export as export_bundle
        from veridical.training.export import read_splits
        from veridical.training.gasbench import export_gasbench

    if gasbench:
        export_gasbench(checkpoint, output, experiment=experiment, say=to_stderr)
        click.echo(str(output))
        return
    splits = None if data is None else read_splits(data, output)
    bundle = export_bundle(
        checkpoint,
        output,
        splits,
        experiment=experiment,
        int8=int8,
        with_checkpoint=not graph_only,
        say=to_stderr,
    )
    click.echo(f"{bundle.folder} {bundle.sha256}")
