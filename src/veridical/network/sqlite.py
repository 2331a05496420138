"""SQLite files that a node keeps: opened, checked, and written all or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from veridical.errors import NetworkError

_VERSION = 1
_BUSY_SECONDS = 30


def open_store(path: Path, *, application: int, tables: str) -> sqlite3.Connection:
    """The SQLite file at `path`, made if it is not there; threads that share the connection take turns.

    `application` is its mark, that tells it from other files. Raises `NetworkError` (`store_corrupt`): a
    damaged file is never replaced silently.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _sqlite_errors(path):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        with _sqlite_errors(path):
            _check(connection, path, application)
            connection.execute("PRAGMA journal_mode = WAL")
            # What was counted stays counted when the power fails.
            connection.execute("PRAGMA synchronous = FULL")
            _create(connection, application, tables)
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that the block writes, or nothing."""
    with _sqlite_errors(path), all_or_nothing(connection):
        yield


def _check(connection: sqlite3.Connection, path: Path, application: int) -> None:
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (known,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (marked, version) not in {(application, _VERSION), (0, 0)} or (marked == 0 and known):
        raise NetworkError(
            f"{path} is of another program, or of another version of this one.", code="store_version"
        )
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise _corrupt(path, result)


def _create(connection: sqlite3.Connection, application: int, tables: str) -> None:
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    if marked:
        return
    connection.executescript(
        f"BEGIN IMMEDIATE; {tables} PRAGMA application_id = {application}; "
        f"PRAGMA user_version = {_VERSION}; COMMIT;"
    )


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # Our own mistake, not the file's.
    except sqlite3.OperationalError as error:
        raise NetworkError(f"{path} cannot be used: {error}.", code="store_unusable", retryable=True) from error
    except sqlite3.DatabaseError as error:
        raise _corrupt(path, str(error)) from error


def _corrupt(path: Path, reason: str) -> NetworkError:
    return NetworkError(
        f"{path} is damaged: {reason}.",
        code="store_corrupt",
        hint="Move it away, or put back a copy; without it a validator waits before it sets weights.",
    )


@contextlib.contextmanager
def all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """All that the block writes, or nothing; other processes wait for its end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # After an error, unless SQLite has rolled back by itself (as it does when the disk is full).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
