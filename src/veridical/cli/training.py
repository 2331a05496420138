"""`veridical train` and `veridical export`: an experiment becomes a checkpoint, a checkpoint a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.training.export import Int8


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)


def _to_nobody(line: str) -> None:
    """What the other processes of several say."""


@click.command()
@click.argument("experiment")
@click.option("--data", help=f"Splits train and val (or train alone) of: {data_option_help}")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the run; runs/EXPERIMENT by default."
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the experiment (epochs=3, augmentation.crop=64) or a setting of its architecture.",
)
@click.option(
    "--start", type=click.Path(path_type=Path), help="A checkpoint of the same architecture to start from."
)
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
    "--accept-shortcuts",
    is_flag=True,
    help="Train although the data fail their audit (see 'veridical audit'); the card records it.",
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events.")
def train(
    experiment: str,
    data: str | None,
    output: Path | None,
    changes: tuple[str, ...],
    start: Path | None,
    device: str,
    workers: int,
    threads: int,
    save_every: int,
    validate_every: int,
    accept_shortcuts: bool,
    tensorboard: bool,
) -> None:
    """Train EXPERIMENT (a name, or a .py file that defines one) to the end.

    Its data are audited first, as its network will see them; if they fail, nothing is trained. The same
    command again goes on where it stopped, after whatever interruption. Several GPUs of one machine:
    torchrun --nproc-per-node 2 -m veridical train EXPERIMENT --device cuda ...
    """
    import dataclasses

    with needs_extra("train", "training"):
        import torch

        from veridical.training.distributed import device_of_process, joined
        from veridical.training.experiment import load_experiment, with_changes
        from veridical.training.gate import pass_audit
        from veridical.training.loop import Run
        from veridical.training.run import run_experiment

    torch.set_num_threads(threads)
    chosen = with_changes(load_experiment(experiment), changes)
    if data is not None:
        chosen = dataclasses.replace(chosen, data=data)
    folder = output or Path("runs") / chosen.name
    with joined() as processes:
        # Only the first process writes, so only it needs to know.
        accepted = (
            pass_audit(chosen, folder, accept=accept_shortcuts, workers=workers, say=_to_stderr)
            if processes.is_first
            else ()
        )
        run = Run(
            folder=folder,
            device=device_of_process(device),
            workers=workers,
            save_every=save_every,
            validate_every=validate_every,
            tensorboard=tensorboard,
            say=_to_stderr if processes.is_first else _to_nobody,
            processes=processes,
            accepted_shortcuts=accepted,
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
        export_gasbench(checkpoint, output, experiment=experiment, say=_to_stderr)
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
        say=_to_stderr,
    )
    click.echo(f"{bundle.folder} {bundle.sha256}")
