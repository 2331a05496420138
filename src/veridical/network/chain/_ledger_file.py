"""The file of a local ledger: its tables, and how it is made, opened and shared between processes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import NetworkError
from veridical.network.chain import CommitReveal, Hyperparameters
from veridical.network.sqlite import all_or_nothing

# "vled" and a version: told apart from other SQLite files, and from a future kind of ledger.
_APPLICATION = 0x766C6564
_VERSION = 2
_BUSY_SECONDS = 30

_TABLES = """
CREATE TABLE subnet (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    netuid INTEGER NOT NULL,
    identity TEXT NOT NULL,
    owner TEXT,
    started REAL NOT NULL,
    block_seconds REAL,
    emission_per_block INTEGER NOT NULL,
    hyperparameters TEXT NOT NULL,
    block INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last_epoch_block INTEGER NOT NULL
) STRICT;
CREATE TABLE accounts (
    hotkey TEXT PRIMARY KEY,
    coldkey TEXT NOT NULL,
    stake INTEGER NOT NULL DEFAULT 0 CHECK (stake >= 0),
    earned INTEGER NOT NULL DEFAULT 0 CHECK (earned >= 0),
    pruned INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX by_coldkey ON accounts (coldkey);
CREATE TABLE neurons (
    uid INTEGER PRIMARY KEY,
    hotkey TEXT NOT NULL UNIQUE REFERENCES accounts (hotkey),
    registered INTEGER NOT NULL,
    last_update INTEGER NOT NULL,
    permit INTEGER NOT NULL DEFAULT 0,
    incentive INTEGER NOT NULL DEFAULT 0,
    dividends INTEGER NOT NULL DEFAULT 0,
    emission INTEGER NOT NULL DEFAULT 0,
    ip TEXT,
    port INTEGER,
    served INTEGER
) STRICT;
CREATE TABLE weights (
    validator INTEGER NOT NULL,
    target INTEGER NOT NULL,
    value INTEGER NOT NULL CHECK (value BETWEEN 0 AND 65535),
    PRIMARY KEY (validator, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE bonds (
    validator INTEGER NOT NULL,
    target INTEGER NOT NULL,
    value INTEGER NOT NULL CHECK (value BETWEEN 0 AND 65535),
    PRIMARY KEY (validator, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE commits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hotkey TEXT NOT NULL,
    hash BLOB NOT NULL,
    block INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE operations (
    hotkey TEXT NOT NULL,
    nonce TEXT NOT NULL,
    block INTEGER NOT NULL,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,
    signature BLOB NOT NULL,
    error TEXT,
    PRIMARY KEY (hotkey, nonce)
) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,
    emission INTEGER NOT NULL
) STRICT;
CREATE TABLE epoch_neurons (
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    uid INTEGER NOT NULL,
    hotkey TEXT NOT NULL,
    stake INTEGER NOT NULL,
    active INTEGER NOT NULL,
    permit INTEGER NOT NULL,
    consensus INTEGER NOT NULL,
    validator_trust INTEGER NOT NULL,
    incentive INTEGER NOT NULL,
    dividends INTEGER NOT NULL,
    server_emission INTEGER NOT NULL,
    validator_emission INTEGER NOT NULL,
    PRIMARY KEY (epoch, uid)
) STRICT, WITHOUT ROWID;
"""


def create_file(path: Path, subnet: Mapping[str, str | int | float | None]) -> None:
    """Write a ledger with that row of `subnet`; raises `NetworkError` (`ledger_exists`) and replaces nothing.

    It appears under its name only when it is complete, whatever happens on the way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    scratch.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(scratch, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.executescript(_TABLES)
            names = ", ".join(subnet)
            places = ", ".join(f":{name}" for name in subnet)
            connection.execute(f"INSERT INTO subnet (id, {names}) VALUES (1, {places})", dict(subnet))
        os.link(scratch, path)  # Unlike a rename, refuses to replace.
    except FileExistsError as error:
        raise NetworkError(
            f"There is a ledger at {path}.", code="ledger_exists", hint="Name another with --ledger."
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the ledger at `path`, checked; each thread that uses it must hold the ledger's lock.

    Raises `NetworkError`: `no_ledger`, `ledger_corrupt`, `ledger_version`.
    """
    if not path.is_file():
        raise NetworkError(
            f"There is no ledger at {path}.", code="no_ledger", hint="Make one with 'veridical network init'."
        )
    with _sqlite_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    try:
        with _sqlite_errors(path):
            _check(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
            # A block that was told to someone survives a power cut too.
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that the block writes, or nothing; other processes wait for its end."""
    with _sqlite_errors(path), all_or_nothing(connection):
        yield


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that the block reads is of one moment."""
    with _sqlite_errors(path):
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@dataclass(frozen=True)
class SubnetRow:
    """The one row of `subnet`: what the ledger is, and how far it has come.

    `block_seconds` is None where blocks come by `advance` alone. `epoch` counts the epochs that have run.
    """

    netuid: int
    identity: str
    owner: str | None
    started: float
    block_seconds: float | None
    emission_per_block: int
    hyperparameters: Hyperparameters
    block: int
    epoch: int
    last_epoch_block: int

    @property
    def next_epoch_block(self) -> int:
        """The block in which the present epoch ends."""
        return self.last_epoch_block + self.hyperparameters.tempo


def read_subnet(connection: sqlite3.Connection) -> SubnetRow:
    """The ledger as it stands."""
    fields = dict(connection.execute("SELECT * FROM subnet").fetchone())
    del fields["id"]
    rules = json.loads(fields.pop("hyperparameters"))
    rules["commit_reveal"] = CommitReveal(rules["commit_reveal"])
    return SubnetRow(hyperparameters=Hyperparameters(**rules), **fields)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise NetworkError(f"{path} is an SQLite file, but no ledger.", code="ledger_version")
    if version != _VERSION:
        raise NetworkError(
            f"The ledger {path} is of version {version}; this program knows {_VERSION}.",
            code="ledger_version",
            hint="Move it away, and make another with 'veridical network init'.",
        )
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise _corrupt(path, result)


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # Our own mistake, not the file's.
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise NetworkError(
                f"The ledger {path} was in use for more than {_BUSY_SECONDS} s.",
                code="ledger_busy",
                retryable=True,
            ) from error
        raise NetworkError(f"The ledger {path} cannot be used: {error}.", code="ledger_unusable") from error
    except sqlite3.DatabaseError as error:
        raise _corrupt(path, str(error)) from error


def _corrupt(path: Path, reason: str) -> NetworkError:
    return NetworkError(
        f"The ledger {path} is damaged: {reason}.",
        code="ledger_corrupt",
        hint="Put back a copy that was made while no program used the ledger.",
    )
