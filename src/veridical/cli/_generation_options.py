"""How fakes are made of what real pictures show: the options of `generate` and `validator`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from veridical.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = [
    click.option(
        "--captioner",
        default="Salesforce/blip2-opt-6.7b-coco",
        show_default=True,
        metavar="NAME",
        help="Model that says what a picture shows: OWNER/NAME of a hub, or a folder.",
    ),
    click.option(
        "--prompts",
        default="llama",
        show_default=True,
        metavar="NAME",
        help="What makes a prompt of the caption: llama, llama-official, smollm2, magic-prompt, caption (as it "
        "is), or a chat model (OWNER/NAME of a hub, or a folder).",
    ),
    click.option(
        "--device", default="cpu", show_default=True, help="Where these models run, such as cuda or cuda:1."
    ),
]


def generation_options(command: Command) -> Command:
    """Add --captioner, --prompts and --device."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_video(model: str) -> None:
    """Raise `UsageError` for a model that makes videos."""
    from veridical.generation import text_to_video

    if model in text_to_video.MODELS:
        raise UsageError(
            f"{model} makes videos, which cannot be used yet: there is no video decoder.",
            hint="Choose one of kind image in 'veridical generate --list'.",
        )
