"""Keys of outside clients: made once, shown once, kept as scrypt hashes in a file of their own.

A key is `vk_ID_SECRET`; its line in the file is the client's name, ID, salt and hash. Whoever removes the line
revokes the key, at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import UsageError, WebError

_KEY = re.compile(r"vk_([0-9a-f]{16})_([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class _Entry:
    client: str
    salt: bytes
    hash: bytes


class ApiKeys:
    """The keys of a file, as it is now. Raises `WebError` (`bad_keys`) for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._entries: dict[str, _Entry] = {}
        # Hashes of keys that were found right, since scrypt is slow on purpose: 256 random bits need no more.
        self._known: dict[bytes, str] = {}
        self._follow()

    def client_of(self, key: str) -> str | None:
        """The name of the client whose key that is, or None. Slow the first time."""
        matched = _KEY.fullmatch(key)
        if matched is None:
            return None
        with self._lock:  # One at a time: guessing must not take all cores.
            self._follow()
            quick = hashlib.sha256(key.encode()).digest()
            if quick in self._known:
                return self._known[quick]
            entry = self._entries.get(matched[1])
            if entry is None or not hmac.compare_digest(_hash(matched[2], entry.salt), entry.hash):
                return None
            self._known[quick] = entry.client
            return entry.client

    def _follow(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._entries = dict(map(_parsed, self._path.read_text("utf-8").splitlines()))
                self._known = {}
                self._stamp = stamp
        except (OSError, ValueError) as error:
            raise WebError(
                f"The keys in {self._path} cannot be read: {error}.",
                code="bad_keys",
                hint="Make the first key with 'veridical proxy --new-key NAME --keys FILE'.",
            ) from error


def new_key(path: Path, client: str) -> str:
    """Add a key for a client to the file, made if need be; gives the key, which nobody can see again."""
    if not _NAME.fullmatch(client):
        raise UsageError("A client's name is up to 64 letters, digits, dots, dashes and underscores.")
    id, secret, salt = secrets.token_hex(8), secrets.token_hex(32), secrets.token_bytes(16)
    line = f"{client} {id} {salt.hex()} {_hash(secret, salt).hex()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(line)
    return f"vk_{id}_{secret}"


def _parsed(line: str) -> tuple[str, _Entry]:
    client, id, salt, hash = line.split()
    return id, _Entry(client, bytes.fromhex(salt), bytes.fromhex(hash))


def _hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
