"""One line for a missing extra instead of a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from veridical.errors import MissingExtraError
from veridical.extras import EXTRAS


@contextlib.contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Turn a failed import of a package of `extra` into `MissingExtraError`; `what` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS[extra].modules:
            raise
        raise MissingExtraError(what, extra=extra) from error
