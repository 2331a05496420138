"""Output of data: stdout as they come, or a file that is there whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import click

from veridical.cli._exit import ExitCode, silence_stdout
from veridical.errors import UsageError


class Standard:
    """Stdout, one flushed piece after the other; a reader that has gone ends the command without a word."""

    def write(self, text: str) -> None:
        """Write and flush, so that whoever reads the pipe sees each result when it is known."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            silence_stdout()
            raise click.exceptions.Exit(ExitCode.PIPE_CLOSED) from None


@contextmanager
def opened(path: Path | None) -> Iterator[Standard | TextIO]:
    """A stream to write to: stdout for None, else a file under its final name only when the block ends well.

    Raises `UsageError` when the file cannot be written; the file that was there before is then still there.
    """
    if path is None:
        _write_utf8_to_stdout()
        yield Standard()
        return
    # Through a link to its file; never a device or a pipe replaced by a file.
    path = path.resolve()
    direct = path.exists() and not path.is_file()
    scratch = path if direct else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            yield file
        if not direct:
            scratch.replace(path)
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Name a file in a folder that you may write to.",
        ) from error
    finally:
        if not direct:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


def _write_utf8_to_stdout() -> None:
    # In a pipe, Python takes the encoding of the locale, and on Windows also translates line ends.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
