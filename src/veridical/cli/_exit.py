"""Exit codes, and how an error that ends the program is told."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import IntEnum

from veridical.errors import ErrorInfo, ModelError, VeridicalError


class ExitCode(IntEnum):
    """The exit codes of the process; explained in `veridical.cli`."""

    DONE = 0
    FOUND = 1
    SOME_FAILED = 2
    USAGE = 3
    MODEL = 4
    INTERRUPTED = 130
    # What a shell reports for a process that SIGPIPE ended: the reader (`head`) has what it wanted.
    PIPE_CLOSED = 141


def code_for(error: VeridicalError) -> ExitCode:
    """The exit code for an error that stopped the whole command."""
    return ExitCode.MODEL if isinstance(error, ModelError) else ExitCode.USAGE


def tell(error: ErrorInfo, *, as_json: bool) -> None:
    """Say on stderr what is wrong and what to do: one line each, or one JSON object."""
    from veridical.reports.escaping import visible

    if as_json:
        import json

        print(json.dumps({"error": asdict(error)}), file=sys.stderr)
        return
    print(f"error: {visible(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {visible(error.hint)}", file=sys.stderr)


def asks_for_json(argv: Sequence[str]) -> bool:
    """Whether the arguments name a JSON format.

    Looks at the words themselves, because it must answer for command lines that cannot be parsed.
    """
    words = [part for word in argv for part in word.split("=", 1)]
    if "--json" in words:
        return True
    return any(pair in (("--format", "json"), ("--format", "jsonl")) for pair in itertools.pairwise(words))


def silence_stdout() -> None:
    """Send what is still buffered to nowhere, so that the interpreter does not complain of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
