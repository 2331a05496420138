"""The user's cache, and what hub repositories keep in it: downloaded, or found there when that is forbidden."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs

from veridical.errors import MissingExtraError, ModelError, UnknownModelError

_REPOSITORY = re.compile(
    r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?"
)


def cache_folder() -> Path:
    """The user's cache; the environment variable `VERIDICAL_CACHE` names another."""
    if folder := os.environ.get("VERIDICAL_CACHE"):
        return Path(folder)
    return Path(platformdirs.user_cache_dir("veridical"))


def is_offline() -> bool:
    """Whether `VERIDICAL_OFFLINE` or `HF_HUB_OFFLINE` forbids downloads now."""
    switches = (os.environ.get(name, "") for name in ("VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in {"1", "on", "yes", "true"} for value in switches)


def is_path(source: str) -> bool:
    """Whether a name is a path: a folder lying in the working directory cannot pose as a repository."""
    return source.startswith((".", "/", "~")) or Path(source).is_absolute()


def parse_repository(source: str) -> tuple[str, str]:
    """The repository and the revision of `OWNER/NAME` or `OWNER/NAME@REVISION`.

    Raises `UnknownModelError` for another syntax.

    >>> parse_repository("owner/name@v1")
    ('owner/name', 'v1')
    """
    parts = _REPOSITORY.fullmatch(source)
    if parts is None:
        raise UnknownModelError(
            f"{source!r} is neither a hub repository nor a path.",
            hint="Write OWNER/NAME or OWNER/NAME@REVISION, or a path that begins with . or /.",
        )
    return parts["id"], parts["revision"] or "main"


def find_snapshot(source: str, patterns: Sequence[str]) -> Path:
    """The folder of a checkpoint: a path as it is, or those files of a repository, downloaded if need be.

    Raises `UnknownModelError`, `ModelError` (`offline`) and `MissingExtraError`.
    """
    if is_path(source):
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise UnknownModelError(f"There is no folder {source}.")
        return folder
    repository, revision = parse_repository(source)
    with hub_errors(source):
        import huggingface_hub

        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                cache_dir=hub_cache(),
                endpoint=os.environ.get("HF_ENDPOINT"),
                allow_patterns=list(patterns),
                local_files_only=is_offline(),
            )
        )


def hub_cache() -> Path:
    """The folder of downloads from hubs, laid out as by their client."""
    return cache_folder() / "huggingface"


@contextlib.contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Turn what a hub's client raises about `where` into errors of ours."""
    try:
        import huggingface_hub  # noqa: F401 # whoever enters this is about to use it
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise MissingExtraError("checkpoints from a hub", extra="hub") from error
    try:
        yield
    except ModelError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise UnknownModelError(
            f"There is no hub repository {where}, or it is not yours to read.",
            hint="Look the name up on the hub; for a private or gated repository set HF_TOKEN.",
        ) from error
    except Exception as error:  # the rest are its HTTP client's, which change with its version
        raise ModelError(
            f"{where} is not in the cache and could not be downloaded: {error}",
            code="offline",
            hint="Unset VERIDICAL_OFFLINE and HF_HUB_OFFLINE, or try again.",
            retryable=not is_offline(),
        ) from error
