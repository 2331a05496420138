"""Items to read, from what a user points at: files, folders, globs, lists, standard input, URLs."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from veridical.errors import MediaError, SourceError
from veridical.media.limits import Limits

# Folders are searched by name, since opening every file of an archive to sniff it would be slow; a file that
# is named on its own is opened whatever it is called.
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl", ".ico"}
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Item:
    """One thing to judge: `name` as the user would write it; `path` is None where there is no file.

    An argument that led to nothing is an item too, whose `read` raises the `error`.
    """

    name: str
    path: Path | None = None
    stdin: BinaryIO | None = None
    error: SourceError | None = None

    def read(self, limits: Limits) -> bytes:
        """The bytes. Raises `SourceError` when there are none, `MediaError` when there are too many."""
        if self.error is not None:
            raise self.error
        if self.stdin is not None:
            data = self.stdin.read(limits.max_file_bytes + 1)
            check_file_size(len(data), limits)
            return data
        assert self.path is not None
        return read_file(self.path, limits)


def find_items(
    arguments: Sequence[str], *, recursive: bool = False, stdin: BinaryIO | None = None
) -> Iterator[Item]:
    """The items that `arguments` name, in their order; within a folder or glob sorted by path.

    A file; a folder (its pictures by extension; with `recursive` also those below, links to folders not
    followed); a glob; `@list.txt` (a path on each line, relative to the current directory); `-` for the bytes
    of one picture on `stdin`; a URL, which is refused.
    """
    for argument in arguments:
        yield from _find(argument, recursive=recursive, stdin=stdin)


def read_file(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file that is not too large."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _source_error(str(path), error) from error
    try:
        return _read_descriptor(descriptor, str(path), limits)
    except OSError as error:
        raise _source_error(str(path), error) from error
    finally:
        os.close(descriptor)


def check_file_size(size: int, limits: Limits) -> None:
    """Refuse a file of more bytes than are read."""
    if size > limits.max_file_bytes:
        raise MediaError(
            f"The file has more than the {limits.max_file_bytes:,} bytes that are read.", code="body_too_large"
        )


def _read_descriptor(descriptor: int, name: str, limits: Limits) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{name} is a folder.", code="is_a_directory")
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{name} is not a regular file.", code="unreadable")
    check_file_size(status.st_size, limits)
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        data = stream.read(limits.max_file_bytes + 1)
    check_file_size(len(data), limits)  # it may have grown since
    return data


def _find(argument: str, *, recursive: bool, stdin: BinaryIO | None) -> Iterator[Item]:
    if argument == "-":
        yield _standard_input(stdin)
    elif _URL.match(argument):
        yield _refused_url(argument)
    elif argument.startswith("@"):
        yield from _listed(argument, recursive=recursive, stdin=stdin)
    else:
        yield from _find_path(argument, recursive=recursive)


def _standard_input(stdin: BinaryIO | None) -> Item:
    if stdin is None:
        return Item("-", error=SourceError("There is no standard input.", code="not_found"))
    return Item("-", stdin=stdin)


def _refused_url(url: str) -> Item:
    error = SourceError(
        "URLs are not fetched by this version.",
        code="url_not_supported",
        hint="Download the file first. URLs come with `veridical serve`, in a later version.",
    )
    return Item(url, error=error)


def _listed(argument: str, *, recursive: bool, stdin: BinaryIO | None) -> Iterator[Item]:
    """The items of a list file; names that are not UTF-8 survive, as everywhere in Python's paths."""
    try:
        raw = Path(argument[1:]).read_bytes()
    except (OSError, ValueError) as error:
        yield Item(argument, error=_source_error(argument[1:], error))
        return
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    names = [line for line in lines if line.strip()]
    if not names:
        yield Item(argument, error=SourceError(f"The list {argument[1:]} is empty.", code="no_matches"))
    for name in names:
        if _URL.match(name):
            yield _refused_url(name)
        else:
            yield from _find_path(name, recursive=recursive)


def _find_path(name: str, *, recursive: bool) -> Iterator[Item]:
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if glob.has_magic(name):
            yield from _find_glob(name, recursive=recursive)
        else:
            yield Item(name, path, error=_source_error(name, error))
        return
    if stat.S_ISDIR(mode):
        yield from _find_in_folder(path, recursive=recursive)
    else:
        yield Item(name, path)


def _find_glob(pattern: str, *, recursive: bool) -> Iterator[Item]:
    found = False
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(name)
        if path.is_file():
            yield Item(name, path)
            found = True
        elif recursive and path.is_dir():
            yield from _find_in_folder(path, recursive=True)
            found = True
    if not found:
        yield Item(pattern, error=SourceError(f"Nothing matches {pattern}.", code="no_matches"))


def _find_in_folder(folder: Path, *, recursive: bool) -> Iterator[Item]:
    found = False
    for path_or_error in _walk(folder, folder.resolve(), recursive=recursive):
        found = True
        if isinstance(path_or_error, SourceError):
            yield Item(str(folder), folder, error=path_or_error)
        else:
            yield Item(str(path_or_error), path_or_error)
    if not found:
        hint = None if recursive else "With -r the folders below are searched too."
        error = SourceError(f"There is no picture in {folder}.", code="no_matches", hint=hint)
        yield Item(str(folder), folder, error=error)


def _walk(folder: Path, root: Path, *, recursive: bool) -> Iterator[Path | SourceError]:
    """Pictures in `folder`, sorted, files before folders; an error in place of a folder that cannot be listed.

    Links to folders are not followed, which also ends every loop; links to files are, within `root`.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield _source_error(str(folder), error)
        return
    for entry in entries:
        if Path(entry.name).suffix.lower() in EXTENSIONS and _is_file_within(entry, root):
            yield folder / entry.name
    if recursive:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, root, recursive=True)


def _is_file_within(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        if not entry.is_file():
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _source_error(name: str, error: OSError | ValueError) -> SourceError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceError(f"There is no file {name}.", code="not_found")
    if isinstance(error, PermissionError):
        return SourceError(f"{name} may not be read.", code="permission_denied")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return SourceError(f"{name} cannot be read: {reason}", code="unreadable")
