"""SQLite as the ledger and a validator's stores use it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Self


class SharedFile:
    """An SQLite file whose connection threads share under a lock; a `with` block lets go of it at its end."""

    _lock: contextlib.AbstractContextManager[bool]
    _connection: sqlite3.Connection

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
