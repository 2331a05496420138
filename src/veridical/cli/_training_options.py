"""Options of the commands that train: `train`, `transfer --train`, `difficulty` and `leave-one-out`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change the experiment (epochs=3, augmentation.crop=64); 'veridical train NAME --help-settings' "
        "lists the names.",
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:0."),
    click.option(
        "--workers", type=click.IntRange(1), default=1, show_default=True, help="Threads that read pictures."
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Threads that compute; the last digits depend on it.",
    ),
    click.option(
        "--accept-shortcuts",
        is_flag=True,
        help="Train although the data fail their audit (see 'veridical audit'); the card records it.",
    ),
)


def training_options(command: Command) -> Command:
    """Add what `training.run.open_run` takes by these names."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
