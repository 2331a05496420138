"""Data sets by name: a file's name is the source's name.

Each defines `INFO`, which says what it is, and `read(data) -> list[Sample]`; where a program can fetch the set
also `download(folder, ...)`, or for a collection `download_set(name, folder, ...)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from veridical.data.sources._info import SetInfo, SourceInfo
from veridical.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from veridical.data.sample import Sample

__all__ = [
    "SetInfo",
    "Source",
    "SourceInfo",
    "download_source",
    "is_downloadable",
    "list_sources",
    "load_source",
]


class Source(Protocol):
    """A file of this folder."""

    INFO: SourceInfo

    def read(self, data: str) -> list[Sample]:
        """The samples of the set at `data`, in a fixed order."""


def list_sources() -> list[str]:
    """The names that `load_source` knows."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_source(name: str) -> Source:
    """The source of that name; raises `DataError` (`unknown_source`) with the nearest one."""
    if name not in list_sources():
        raise DataError(
            f"There is no data source '{name}'.",
            code="unknown_source",
            hint=did_you_mean(name, list_sources()),
        )
    module: Any = importlib.import_module(f"{__name__}.{name}")  # Any: a module cannot declare a protocol
    source: Source = module
    return source


def is_downloadable(name: str) -> bool:
    """Whether `download_source` can fetch it."""
    source = load_source(name)
    return hasattr(source, "download") or hasattr(source, "download_set")


def download_source(
    name: str, folder: Path, *, most_bytes: int, say: Callable[[str], None], cap: int = 0
) -> None:
    """Fetch a set to `folder`; of a collection one set, such as `hub:owner/name`.

    `cap` is how many pictures of a publisher and class a gallery gives at most (0: all). At most `most_bytes`
    are downloaded. Raises `UsageError` where a program cannot fetch it or `folder` holds
    something else, `SourceError` (`offline`, `no_credentials`, `not_found`, `body_too_large`,
    `hash_mismatch`, `download_failed`) where it fails.
    """
    source, _, which = name.partition(":")
    info = load_source(source).INFO
    if not is_downloadable(source):
        raise UsageError(f"'{source}' cannot be downloaded by a program.", hint=f"Get it here: {info.where}")
    if bool(which) != bool(info.sets):
        hint = f"Name one of its sets, such as {source}:{info.sets[0].name}." if info.sets else None
        raise UsageError(f"'{name}' is not one data set.", hint=hint)
    module: Any = load_source(source)  # Any: not every source can be fetched
    if cap and source != "gallery":
        raise UsageError("--cap is for a gallery, whose pictures come one by one.")
    if cap:
        module.download_set(which, folder, most_bytes=most_bytes, say=say, cap=cap)
    elif which:
        module.download_set(which, folder, most_bytes=most_bytes, say=say)
    else:
        module.download(folder, most_bytes=most_bytes, say=say)
