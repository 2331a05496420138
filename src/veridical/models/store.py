"""Places of bundles: in the package, in the user's cache, at a path, or in a hub repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veridical.errors import ModelError, UnknownModelError, did_you_mean
from veridical.models.bundle import CARD, GRAPH, PARAMETERS, install_bundle
from veridical.models.card import parse_card
from veridical.models.snapshots import cache_folder, find_snapshot, is_offline

SHIPPED = Path(__file__).parent / "weights"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HUB_NAME = re.compile(
    r"hf:(?P<owner>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._-]*))?"
)


@dataclass(frozen=True)
class FoundBundle:
    """A bundle's folder, not yet read, and where it comes from; `name` finds it again."""

    name: str
    folder: Path
    origin: Literal["package", "cache", "hub", "path"]


def find_bundle(name: str) -> FoundBundle:
    """The bundle that goes by `name`.

    A name with a separator is a path; `hf:owner/name@revision` is a hub repository, downloaded to the cache;
    any other is looked for in the package, then in the user's cache, then in the working directory (last, so
    that a folder lying there cannot pose as a shipped detector). Raises `UnknownModelError` with the known
    names, and for the hub `MissingExtraError` or `ModelError` (`offline`).
    """
    if name.startswith("hf:"):
        return _find_on_hub(name)
    for bundle in _named_bundles():
        if bundle.name == name:
            return bundle
    if _is_there(Path(name)):
        return FoundBundle(name, Path(name), "path")
    raise UnknownModelError(
        f"There is no bundle {name!r}.", hint=did_you_mean(name, [bundle.name for bundle in list_bundles()])
    )


def list_bundles() -> list[FoundBundle]:
    """Every bundle on this machine that has a name: shipped, in the cache, or downloaded from a hub."""
    downloaded = [
        FoundBundle(f"hf:{owner}/{name}@{revision}", card.parent, "hub")
        for card in sorted((cache_folder() / "hub").glob(f"*/*/*/{CARD}"))
        for owner, name, revision in [card.parent.parts[-3:]]
        if not revision.startswith(".")
    ]
    return _named_bundles() + downloaded


def _is_there(path: Path) -> bool:
    """A file is there too: reading it as a bundle says why it is none."""
    try:
        return path.is_file() or (path / CARD).is_file()
    except OSError:  # such as a name that is too long for the system
        return False


def _named_bundles() -> list[FoundBundle]:
    """Shipped ones first; a cached one cannot take a shipped one's name."""
    shipped = [FoundBundle(folder.name, folder, "package") for folder in _bundle_folders(SHIPPED)]
    taken = {bundle.name for bundle in shipped}
    cached = _bundle_folders(cache_folder() / "bundles")
    return shipped + [FoundBundle(f.name, f, "cache") for f in cached if f.name not in taken]


def _bundle_folders(parent: Path) -> list[Path]:
    return sorted(card.parent for card in parent.glob(f"*/{CARD}") if _NAME.fullmatch(card.parent.name))


def _find_on_hub(name: str) -> FoundBundle:
    parts = _HUB_NAME.fullmatch(name)
    if parts is None:
        raise UnknownModelError(
            f"{name!r} is not the name of a hub repository.",
            hint="Write hf:owner/name or hf:owner/name@revision.",
        )
    repository, revision = f"{parts['owner']}/{parts['name']}", parts["revision"] or "main"
    folder = cache_folder() / "hub" / parts["owner"] / parts["name"] / revision
    if not is_offline():
        _download(repository, revision, folder)
    elif not (folder / CARD).is_file():
        raise ModelError(
            f"{name} is not in the cache, and VERIDICAL_OFFLINE or HF_HUB_OFFLINE forbids to download it.",
            code="offline",
            hint="Unset the variable, or use one of 'veridical models list'.",
        )
    return FoundBundle(f"hf:{repository}@{revision}", folder, "hub")


def _download(repository: str, revision: str, folder: Path) -> None:
    """Fetch a repository's bundle and install it in `folder`, unless that very bundle is there already."""
    snapshot = find_snapshot(f"{repository}@{revision}", [CARD, GRAPH, PARAMETERS])
    _install_snapshot(snapshot, folder)


def _install_snapshot(snapshot: Path, folder: Path) -> None:
    """Copy a snapshot, whose files are links into the hub's own cache, to a folder of plain files."""
    try:
        card_json = (snapshot / CARD).read_bytes()
        named = parse_card(card_json).files
        files = {name: (snapshot / name).read_bytes() for name in (GRAPH, PARAMETERS) if name in named}
    except OSError as error:
        raise ModelError(f"The hub repository holds no whole bundle: {error}") from error
    if not _holds(folder, {CARD: card_json, **files}):
        install_bundle(folder, card_json, files)


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    return all((folder / n).is_file() and (folder / n).read_bytes() == data for n, data in files.items())
