"""A bundle is a folder: `card.json`, `model.onnx`, and often `model.safetensors` to train on from.

Reading checks every byte before it is used; writing puts a whole bundle in the place of another in one step.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veridical.errors import ModelError, UsageError
from veridical.models.card import Card, parse_card, sha256_of
from veridical.models.graph import check_graph
from veridical.models.parameters import MAX_FILE_BYTES, refuse_pickle, refuse_pickle_name, require_size
from veridical.models.weights import PINNED

CARD = "card.json"
GRAPH = "model.onnx"
PARAMETERS = "model.safetensors"

MAX_CARD_BYTES = 4 * 2**20

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_READ_ATTEMPTS = 10


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; `sha256` is that of its `card.json`, `graph` the bytes of `model.onnx`."""

    folder: Path
    card: Card
    sha256: str
    graph: bytes = field(repr=False)


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, with every file compared to the hash in its card.

    The graph is checked too (`check_graph`) unless the card is that of a shipped bundle. When the folder is
    replaced while it is read, it is read again: the result is one bundle or the other, never a mixture.
    Raises `ModelError`: `malformed_bundle`, `hash_mismatch`, `unsafe_checkpoint`, `unsafe_graph`,
    `non_finite_parameters`.
    """
    for _ in range(_READ_ATTEMPTS):
        before = _identity(folder)
        try:
            return _read_once(folder)
        except ModelError:
            if _identity(folder) == before:
                raise
    raise ModelError(f"The bundle {folder} is replaced again and again while it is read.", retryable=True)


def write_bundle(folder: Path, card: Card, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle and put it in the place of the one in `folder`, if there is one.

    `card.files` is filled in here. See `install_bundle` for what is promised to those who read meanwhile.
    """
    hashes = {name: sha256_of(data) for name, data in files.items()}
    return install_bundle(folder, dataclasses.replace(card, files=hashes).to_json(), files)


def install_bundle(folder: Path, card_json: bytes, files: Mapping[str, bytes]) -> Bundle:
    """Put a bundle whose card exists already at `folder`, after reading it back and checking it like any other.

    It is written and flushed beside `folder` and then takes its name. On Linux the old and the new folder
    change names in one step (`renameat2`), so that there is a whole bundle at every moment, also after a
    power cut. Elsewhere, or on a file system without that call, there is a moment with none.
    """
    folder = folder.resolve()
    try:
        _refuse_to_replace_anything_else(folder)
        return _install(folder, {CARD: card_json, **files})
    except OSError as error:
        raise UsageError(
            f"The bundle cannot be written to {folder}: {error}", hint="Name a folder that you may write to."
        ) from error


def _install(folder: Path, files: Mapping[str, bytes]) -> Bundle:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        beside.chmod(0o755)  # mkdtemp gives 0700, and other users read what is installed
        for name, data in files.items():
            _require_plain_name(name)
            _write_flushed(beside / name, data)
        _flush_folder(beside)
        bundle = read_bundle(beside)
        _put_in_place(beside, folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return dataclasses.replace(bundle, folder=folder)


def _read_once(folder: Path) -> Bundle:
    try:
        names = _list_files(folder)
        card_json = _read_whole(folder / CARD, limit=MAX_CARD_BYTES)
        card = parse_card(card_json)
        _require_the_same_names(names, card, folder=folder)
        graph = _read_whole(folder / GRAPH, limit=MAX_FILE_BYTES)
        _require_hash(GRAPH, card, found=sha256_of(graph))
        for name in sorted(card.files.keys() - {GRAPH}):
            _require_hash(name, card, found=_hash_file(folder / name))
    except OSError as error:
        raise ModelError(
            f"The bundle {folder} cannot be read: {error}", hint="See 'veridical models list' for bundles."
        ) from error
    sha256 = sha256_of(card_json)
    if sha256 not in PINNED.values():
        check_graph(graph)
    return Bundle(folder=folder, card=card, sha256=sha256, graph=graph)


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Changes when another folder takes the name; the times guard against an inode number used again."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _list_files(folder: Path) -> set[str]:
    if folder.is_file():
        refuse_pickle(folder)
        raise ModelError(f"{folder} is a file; a bundle is a folder with {CARD} and {GRAPH}.")
    names = set()
    for path in folder.iterdir():
        # Not what a link points to: that may lie outside the folder, or be a device that never ends.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ModelError(f"The bundle {folder} holds '{path.name}', which is not a regular file.")
        refuse_pickle(path)
        names.add(path.name)
    return names


def _require_the_same_names(names: set[str], card: Card, *, folder: Path) -> None:
    for name in card.files:
        _require_plain_name(name)
    if missing := card.files.keys() - names:
        raise ModelError(f"The bundle {folder} lacks {_listed(missing)}, which its card names.")
    if unknown := names - card.files.keys() - {CARD}:
        raise ModelError(
            f"The bundle {folder} holds {_listed(unknown)}, which its card does not name.",
            hint="Remove what does not belong there: only files whose hash is in the card are trusted.",
        )


def _require_plain_name(name: str) -> None:
    refuse_pickle_name(name)
    if not _PLAIN_NAME.fullmatch(name):
        raise ModelError(f"A bundle's files have plain names; {name!r} is none.")


def _require_hash(name: str, card: Card, *, found: str) -> None:
    expected = card.files[name]
    if found != expected:
        raise ModelError(
            f"{name} of bundle '{card.name}' is not the file that its card describes: "
            f"expected sha256 {expected[:12]}…, found {found[:12]}….",
            code="hash_mismatch",
            hint="The file was damaged or changed. Install the bundle again, or export it again.",
        )


def _read_whole(path: Path, *, limit: int) -> bytes:
    require_size(path, limit=limit)
    return path.read_bytes()


def _hash_file(path: Path) -> str:
    require_size(path, limit=MAX_FILE_BYTES)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


def _refuse_to_replace_anything_else(folder: Path) -> None:
    """A folder that is replaced is deleted, so it must be a bundle and nothing but a bundle."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {"?"}
    if not names:
        return
    try:
        known = parse_card(_read_whole(folder / CARD, limit=MAX_CARD_BYTES)).files.keys() | {CARD}
    except (OSError, ModelError) as error:
        raise UsageError(
            f"{folder} exists and is not a bundle; it is not replaced.", hint="Name another folder."
        ) from error
    if others := names - known:
        raise UsageError(
            f"{folder} holds {_listed(others)} besides a bundle; it is not replaced.",
            hint="Move them away, or name another folder.",
        )


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # where a folder cannot be opened, nor need be
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(beside: Path, folder: Path) -> None:
    # Renaming is tried first, not asked about first: another writer may put a bundle there meanwhile.
    try:
        beside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        _exchange(beside, folder)


def _exchange(one: Path, other: Path) -> None:
    if not _exchange_in_one_step(one, other):
        _exchange_in_two_steps(one, other)


def _exchange_in_one_step(one: Path, other: Path) -> bool:
    """False where the system or the file system cannot."""
    at_working_directory, rename_exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(at_working_directory, names[0], at_working_directory, names[1], rename_exchange) == 0)


def _exchange_in_two_steps(one: Path, other: Path) -> None:
    aside = one.with_name(one.name + ".old")
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)
