"""`veridical completion`: the script a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in SHELL.

    For bash: echo 'eval "$(veridical completion bash)"' >> ~/.bashrc
    """
    program = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(program.command, {}, "veridical", "_VERIDICAL_COMPLETE").source())
