"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from veridical.errors import UsageError


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, flushed to the disk, and put it in the place of the one at `path` in one step.

    Raises `UsageError` if that is not possible.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).chmod(0o644)  # mkstemp gives 0600, and other users may read the file too
            Path(scratch).replace(path)
        finally:
            with suppress(OSError):
                Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Name a place that you may write to."
        ) from error
