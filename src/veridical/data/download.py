"""Files from the network, whole or not at all; and archives become folders without leaving them."""

from __future__ import annotations

import functools
import hashlib
import http.client
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from veridical.errors import SourceError, UsageError
from veridical.models.snapshots import is_offline

ATTEMPTS = 4
# Seconds before the second attempt; twice as long before each further one.
FIRST_WAIT = 1.0

_TIMEOUT = 30.0
_BLOCK = 1 << 20
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


def fetch(
    url: str,
    path: Path,
    *,
    most_bytes: int,
    say: Callable[[str], None],
    headers: Mapping[str, str] | None = None,
    md5: str = "",
) -> None:
    """Download an https address to `path`; plain http only on this machine, for tests.

    `headers` (such as a password) are not sent on to where the answer redirects. A download that breaks off
    goes on where it stopped, if the server can. Raises `SourceError`: `offline`, `no_credentials` (401, 403),
    `not_found`, `body_too_large`, `hash_mismatch`, `download_failed`.
    """
    check_online(url)
    _check_scheme(url, url)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    say(f"downloading {url}")
    try:
        transfer = functools.partial(_transfer, url, partial, headers=headers or {}, most_bytes=most_bytes)
        etag = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            try:
                etag = transfer(etag)
                break
            except _Broken as error:
                etag = error.etag
                say(f"attempt {attempt + 1} of {ATTEMPTS} failed: {error}")
        else:
            raise SourceError(f"{url} could not be downloaded.", code="download_failed", retryable=True)
        _check_md5(partial, md5, url)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_online(what: str) -> None:
    """Refuse (`offline`) to fetch `what` when the user forbids downloads."""
    if is_offline():
        raise SourceError(
            f"VERIDICAL_OFFLINE or HF_HUB_OFFLINE forbids to download {what}.",
            code="offline",
            hint="Unset the variable, or get the set in another way: 'veridical data info' says where.",
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` when the block ends well, and vanishes when it does not."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already.", hint="Name a folder that does not exist yet.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        scratch = Path(name) / "made"
        scratch.mkdir()
        yield scratch
        scratch.replace(folder)


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack into `folder`; an archive that is damaged, leads out of it or does not fit the disk is refused."""
    try:
        with zipfile.ZipFile(archive) as opened:
            size = sum(entry.file_size for entry in opened.infolist())
            if size > shutil.disk_usage(folder).free:
                raise SourceError(
                    f"The archive unpacks to {size:,} bytes, more than fit.", code="body_too_large"
                )
            for entry in opened.infolist():
                _unpack(opened, entry, folder)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise SourceError(f"The archive is damaged: {error}", code="download_failed") from error


def copy_at_most(source: IO[bytes], path: Path, most_bytes: int) -> None:
    """Write all of `source` to `path`, if it is not longer than `most_bytes`."""
    with path.open("wb") as file:
        while block := source.read(_BLOCK):
            most_bytes -= len(block)
            if most_bytes < 0:
                raise SourceError(f"{path.name} is longer than it should be.", code="body_too_large")
            file.write(block)


class _Broken(Exception):
    """An attempt that may be worth another; `etag` names the version of the bytes that are already there."""

    def __init__(self, reason: object, etag: str = "") -> None:
        super().__init__(str(reason))
        self.etag = etag


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something weaker."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, asked: str) -> None:
    is_local = all(
        urllib.parse.urlsplit(one).scheme == "http" and urllib.parse.urlsplit(one).hostname == "127.0.0.1"
        for one in (url, asked)
    )
    if urllib.parse.urlsplit(url).scheme != "https" and not is_local:
        raise SourceError(f"{asked} leads to {url}, which is not https.", code="url_not_supported")


def _transfer(url: str, path: Path, etag: str, *, headers: Mapping[str, str], most_bytes: int) -> str:
    """One attempt; goes on after the bytes in `path` if they are of version `etag`."""
    request = urllib.request.Request(url, headers={"User-Agent": "veridical"})
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    start = path.stat().st_size if etag and path.exists() else 0
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", etag)
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=_TIMEOUT) as answer:
            start = start if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            etag = answer.headers.get("ETag") or ""
            _receive(answer, path, start, most_bytes)
    except urllib.error.HTTPError as error:
        raise _refusal(error, url, etag) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(error, etag) from error
    return etag


def _receive(answer: http.client.HTTPResponse, path: Path, start: int, most_bytes: int) -> None:
    expected = start + (answer.length or 0)
    size = start
    with path.open("r+b" if start else "wb") as file:
        file.seek(start)
        while max(size, expected) <= most_bytes and (block := answer.read(_BLOCK)):
            file.write(block)
            size += len(block)
    if max(size, expected) > most_bytes:
        raise SourceError(
            f"{answer.url} has {max(size, expected):,} bytes, more than the {most_bytes:,} that are allowed.",
            code="body_too_large",
            hint="Allow more with --most-gb.",
        )
    if size < expected:
        raise http.client.IncompleteRead(b"", expected - size)


def _refusal(error: urllib.error.HTTPError, url: str, etag: str) -> Exception:
    error.close()
    if error.code in _WORTH_ANOTHER_TRY:
        return _Broken(error, etag)
    codes = {401: "no_credentials", 403: "no_credentials", 404: "not_found"}
    return SourceError(
        f"{url} was refused: {error.code} {error.reason}.", code=codes.get(error.code, "download_failed")
    )


def _check_md5(path: Path, md5: str, url: str) -> None:
    if not md5:
        return
    with path.open("rb") as file:
        # Against damage only: whoever could forge it could forge the https page that states it.
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise SourceError(f"{url} has the MD5 {found}, not {md5}.", code="hash_mismatch", retryable=True)


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = (folder / entry.filename).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise SourceError(f"The archive wants to write to {entry.filename}.", code="download_failed")
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source:
        copy_at_most(source, target, entry.file_size)
