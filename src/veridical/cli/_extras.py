"""One line for a missing extra instead of a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from veridical.errors import MissingExtraError

_OF_TRAIN = {"torch", "sklearn", "safetensors", "onnxscript", "jaxtyping", "tensorboard"}


@contextlib.contextmanager
def needs_train_extra(what: str) -> Iterator[None]:
    """Turn a failed import of the extra `train` into `MissingExtraError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _OF_TRAIN:
            raise
        raise MissingExtraError(what, extra="train") from error
