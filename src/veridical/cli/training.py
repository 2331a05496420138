"""`veridical train` and `veridical export`: an experiment becomes a checkpoint, a checkpoint a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_train_extra
from veridical.cli._options import data_option_help


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("experiment")
@click.option("--data", required=True, help=f"Splits train and val of: {data_option_help}")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:0.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Threads that read pictures."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads that compute; the last digits depend on it.",
)
@click.option("--epochs", type=click.IntRange(1), help="Instead of the experiment's own number.")
@click.option(
    "--save-every", type=click.IntRange(1), default=50, show_default=True, help="Steps between checkpoints."
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events.")
def train(
    experiment: str,
    data: str,
    output: Path,
    device: str,
    workers: int,
    threads: int,
    epochs: int | None,
    save_every: int,
    tensorboard: bool,
) -> None:
    """Train EXPERIMENT (a name, or a .py file that defines one) to the end.

    The same command again goes on where it stopped, after whatever interruption.
    """
    import dataclasses

    with needs_train_extra("Training"):
        import torch

        from veridical.data.samples import read_samples
        from veridical.training.experiment import load_experiment
        from veridical.training.loop import Run
        from veridical.training.loop import train as run_training

    torch.set_num_threads(threads)
    chosen = load_experiment(experiment)
    if epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=epochs)
    run = Run(
        folder=output,
        device=device,
        workers=workers,
        save_every=save_every,
        tensorboard=tensorboard,
        say=_to_stderr,
    )
    click.echo(str(run_training(chosen, read_samples(data, "train"), read_samples(data, "val"), run)))


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option("--data", help="Data with splits train, val and test: calibrates and measures.")
@click.option("--experiment", help="Its experiment, if that is a .py file of yours.")
@click.option("--int8", is_flag=True, help="Quantise, if the gate on validation allows it.")
def export(checkpoint: Path, output: Path, data: str | None, experiment: str | None, int8: bool) -> None:
    """Write the bundle of CHECKPOINT: ONNX, card, calibration, thresholds, measured error rates."""
    with needs_train_extra("Exports"):
        from veridical.training.export import export as export_bundle
        from veridical.training.export import read_splits

    splits = None if data is None else read_splits(data, str(output))
    bundle = export_bundle(checkpoint, output, splits, experiment=experiment, int8=int8, say=_to_stderr)
    click.echo(f"{bundle.folder} {bundle.sha256}")
