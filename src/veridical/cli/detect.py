"""`veridical detect`: files, folders, lists and stdin become verdicts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._exit import ExitCode
from veridical.reports import Format

if TYPE_CHECKING:
    from veridical.cli._judging import Stream
    from veridical.reports import Entry


def _probability(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    # Not click's own range: NaN passes it, because it is neither below nor above anything.
    if value is not None and not 0.0 <= value <= 1.0:
        raise click.BadParameter(f"{value} is not a probability; give a number from 0 to 1.")
    return value


@click.command()
@click.argument("sources", metavar="PATH...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also what lies in folders of folders.")
@click.option(
    "--format",
    "chosen_format",
    type=click.Choice([str(format) for format in Format]),
    help="Default: by the suffix of --output; else table on a terminal, jsonl in a pipe.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to this file, whole or not at all."
)
@click.option("--detector", help="Name or folder of a detector; see 'veridical models list'.")
@click.option(
    "--threshold",
    type=float,
    metavar="0..1",
    callback=_probability,
    help="Say 'ai' from this probability on, not the model's own.",
)
@click.option(
    "--fail-on",
    type=float,
    metavar="0..1",
    callback=_probability,
    help="Exit 1 if some probability is at or above this.",
)
@click.option(
    "--allow-truncated", is_flag=True, help="Give a number, but no verdict, for what is left of a broken file."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Files judged at a time. Default: one for each core.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but what ends the run.")
@click.option("--no-color", is_flag=True, help="No colours; so says the variable NO_COLOR.")
@click.pass_context
def detect(
    ctx: click.Context,
    sources: tuple[str, ...],
    recursive: bool,
    chosen_format: str | None,
    output: Path | None,
    detector: str | None,
    threshold: float | None,
    fail_on: float | None,
    allow_truncated: bool,
    jobs: int | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Say of each picture whether it was probably made by AI.

    PATH is a file, a folder, a glob, @FILE with one name a line, or - for bytes on stdin.

    Results come in the order of the files. A name that is not UTF-8 is given as its file: URI.

    Exit codes: 0 all judged; 1 found (with --fail-on); 2 some files failed (wins over 1, because the answer is
    incomplete); 3 usage; 4 model missing or invalid; 130 interrupted, with valid output.

    With --format json or jsonl, an error that ends the run is JSON on stderr.
    """
    from veridical.cli._interruption import Interruption
    from veridical.cli._judging import Judge, Stream
    from veridical.cli._output import opened
    from veridical.detectors import DEFAULT_DETECTOR, load_detector
    from veridical.media.sources import find_items
    from veridical.reports import About, render

    chosen = Format(chosen_format) if chosen_format else _default_format(output)
    loaded = load_detector(detector or DEFAULT_DETECTOR)
    about = About.now(
        card=loaded.card,
        colour=output is None and not no_color and _shows_colour(),
        width=shutil.get_terminal_size().columns if output is None else 80,
    )
    judge = Judge(
        loaded,
        threshold=threshold,
        allow_truncated=allow_truncated,
        with_thumbnail=chosen is Format.HTML,
    )
    items = find_items(sources, recursive=recursive, stdin=sys.stdin.buffer if sys.stdin else None)
    if "-" in sources:
        jobs = 1  # Ctrl-C does not reach a thread that waits for stdin.
    with Interruption() as interruption, opened(output) as file:
        stream = Stream(judge, items, jobs=jobs or _cores(), interruption=interruption)
        with _progress(stream, shown=not quiet and _has_free_terminal(output)) as entries:
            for text in render(chosen, entries, about):
                file.write(text)
        if stream.failure:
            raise stream.failure
    if not quiet:
        _say_how_it_went(stream, table=chosen is Format.TABLE)
    ctx.exit(_exit_code(stream, fail_on=fail_on))


def _default_format(output: Path | None) -> Format:
    if output is not None:
        suffix = output.suffix.lower().removeprefix(".")
        return Format(suffix) if suffix in set(Format) else Format.JSONL
    return Format.TABLE if sys.stdout.isatty() else Format.JSONL


def _cores() -> int:
    # Those this process may use: in a container the machine has more.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shows_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _has_free_terminal(output: Path | None) -> bool:
    """Whether stderr is a terminal that results do not scroll through as well."""
    return sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())


@contextmanager
def _progress(stream: Stream, *, shown: bool) -> Iterator[Iterator[Entry]]:
    if not shown:
        yield iter(stream)
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("Judging"), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # or rich shows on stderr what we write to stdout
        redirect_stderr=False,
    )
    with progress:
        yield iter(progress.track(stream, total=None))


def _say_how_it_went(stream: Stream, *, table: bool) -> None:
    summary = stream.summary
    if stream.interruption.requested:
        print("Interrupted; what was finished is complete.", file=sys.stderr)
    if summary.failed or (summary.files > 1 and (table or sys.stderr.isatty())):
        print(summary.sentence(), file=sys.stderr)
        if shares := summary.shares_sentence():
            print(shares, file=sys.stderr)


def _exit_code(stream: Stream, *, fail_on: float | None) -> ExitCode:
    if stream.interruption.requested:
        return ExitCode.INTERRUPTED
    if stream.summary.failed:
        return ExitCode.SOME_FAILED
    greatest = stream.summary.greatest
    if fail_on is not None and greatest is not None and greatest >= fail_on:
        return ExitCode.FOUND
    return ExitCode.DONE
