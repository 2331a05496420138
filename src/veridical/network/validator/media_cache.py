"""Pictures that wait to be sent: a folder of limited size, refilled from sources, that survives restarts.

Each is sent a limited number of times, and its origin is remembered for good, so that a source cannot bring it
back. Files carry random names and no metadata; labels are in the index alone.
"""

from __future__ import annotations

import hashlib
import io
import logging
import random
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import PIL.Image

from veridical.data.perturbations import Pixels
from veridical.errors import ModelError, NetworkError, VeridicalError
from veridical.network.sqlite import open_store, transaction
from veridical.network.validator.offers import Offer
from veridical.results import Label

_APPLICATION = 0x766D6564  # "vmed"
# Of larger pictures a random part this wide and high is kept: it is cropped again for each challenge.
_MOST_SIDE = 1024
_REFILL_SECONDS = 1.0

_TABLES = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    file TEXT NOT NULL UNIQUE,
    modality TEXT NOT NULL,
    label INTEGER NOT NULL,
    generator TEXT NOT NULL,
    source TEXT NOT NULL,
    pool TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'ready'
) STRICT;
CREATE INDEX ready ON items (state, pool, modality, label);
"""

log = logging.getLogger(__name__)


class Pool(StrEnum):
    """Purposes of a picture.

    `open`: sent up to `uses` times. `private`: sent once in its life, so that nobody can have seen it.
    `canary`: made from a picture that everyone can look up.
    """

    OPEN = "open"
    PRIVATE = "private"
    CANARY = "canary"


@dataclass(frozen=True)
class CacheLimits:
    """`megabytes` on disk, `ready` pictures of each label to keep ready, how often one is sent (`uses`), the
    least short side in pixels, and the share of new pictures that become `private`."""

    megabytes: int = 10_000
    ready: int = 500
    uses: int = 2
    least_side: int = 256
    private: float = 0.1


@dataclass(frozen=True)
class CachedMedia:
    """A picture that was taken to be sent. What would give its label away is not in its `repr`."""

    pixels: Pixels = field(repr=False)
    origin: str
    label: Label = field(repr=False)
    generator: str = field(repr=False)
    source: str = field(repr=False)
    pool: Pool = field(repr=False)


class MediaCache:
    """The pictures in a folder. Threads may share one; a folder belongs to one process.

    `rng` is secret where it matters: `random.SystemRandom()`.
    """

    def __init__(self, folder: Path, limits: CacheLimits, rng: random.Random) -> None:
        self.limits = limits
        # The labels of which there is nothing left that could refill it.
        self.dry: set[Label] = set()
        self._folder = folder / "media"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rng = rng
        self._lock = threading.RLock()
        self._path = folder / "media.sqlite"
        self._connection = open_store(self._path, application=_APPLICATION, tables=_TABLES)
        self._sweep()
        self.prune()

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._connection.close()

    def ready(self, label: Label, *, modality: str = "image", pool: Pool | None = None) -> int:
        """Number of pictures that can be sent: of one pool, or of all."""
        pools = [pool] if pool else list(Pool)
        with self._lock:
            (count,) = self._connection.execute(
                "SELECT count(*) FROM items WHERE state = 'ready' AND label = ? AND modality = ? "
                f"AND pool IN ({', '.join('?' * len(pools))})",
                [int(label), modality, *pools],
            ).fetchone()
        return int(count)

    def size(self) -> int:
        """The size of all files, in bytes."""
        with self._lock:
            (size,) = self._connection.execute(
                "SELECT coalesce(sum(bytes), 0) FROM items WHERE state = 'ready'"
            ).fetchone()
        return int(size)

    def add(self, offer: Offer) -> bool:
        """Keep an offer's picture; False if it was kept before, cannot be read, or is too small.

        What cannot be read or is too small is logged by its error; it never becomes a challenge.
        """
        if self._knows(offer.origin):
            return False
        try:
            pixels = offer.load()
        except ModelError:
            raise  # What makes the pictures is at fault, so that all of them would fail.
        except VeridicalError as error:
            log.warning("a source's picture is left out: %s", error.message)
            return False
        if min(pixels.shape[:2]) < self.limits.least_side:
            log.warning(
                "a source's picture of %d x %d pixels is left out: the short side needs %d",
                pixels.shape[1],
                pixels.shape[0],
                self.limits.least_side,
            )
            return False
        self._store(offer, _png(self._part(pixels)))
        return True

    def take(self, label: Label, *, pool: Pool, modality: str = "image") -> CachedMedia:
        """A picture to send now; it counts as sent from here on, whatever happens next.

        Generators (of reals: sources) are drawn first, so that a large one does not crowd out the others.
        Raises `NetworkError` (`no_media`) when none is ready.
        """
        while True:
            row = self._draw(label, pool, modality)
            data = self._read(row)
            if data is not None:
                break
        self._count(row)
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        return CachedMedia(
            pixels, row["origin"], Label(row["label"]), row["generator"], row["source"], Pool(row["pool"])
        )

    def no_media(self, label: Label) -> NetworkError:
        """The error for a label of which nothing is ready; it passes if a source may have more."""
        return NetworkError(
            "No fresh media are left for a challenge.",
            code="no_media",
            hint="Add sources with --data or --fakes, or send each picture more often with --uses.",
            retryable=label not in self.dry,
        )

    def prune(self) -> None:
        """Drop pictures until the folder is within its limit: of the label with more of them, the oldest."""
        while self.size() > self.limits.megabytes * 1_000_000:
            with self._lock:
                larger = max(Label, key=self.ready)
                row = self._connection.execute(
                    "SELECT * FROM items WHERE state = 'ready' AND label = ? ORDER BY id LIMIT 1", [int(larger)]
                ).fetchone()
                # One that was never sent may come back; one that was is remembered.
                self._drop(row, "pruned" if row["sent"] else None)

    def is_full(self) -> bool:
        """True if no more fit."""
        return self.size() >= self.limits.megabytes * 1_000_000

    def _knows(self, origin: str) -> bool:
        with self._lock:
            return (
                self._connection.execute("SELECT 1 FROM items WHERE origin = ?", [origin]).fetchone()
                is not None
            )

    def _part(self, pixels: Pixels) -> Pixels:
        # Even, so that the sampling grid keeps its phase.
        top, left = (2 * self._rng.randint(0, max(0, side - _MOST_SIDE) // 2) for side in pixels.shape[:2])
        return pixels[top : top + _MOST_SIDE, left : left + _MOST_SIDE]

    def _store(self, offer: Offer, data: bytes) -> None:
        name = f"{self._rng.getrandbits(128):032x}.png"
        scratch = self._folder / f".{name}"
        scratch.write_bytes(data)
        scratch.replace(self._folder / name)
        with self._lock, transaction(self._connection, self._path):
            self._connection.execute(
                "INSERT INTO items (origin, file, modality, label, generator, source, pool, sha256, bytes) "
                "VALUES (:origin, :file, :modality, :label, :generator, :source, :pool, :sha256, :bytes)",
                {
                    **vars(offer),
                    "label": int(offer.label),
                    "file": name,
                    "pool": self._pool_for(offer),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "bytes": len(data),
                },
            )

    def _pool_for(self, offer: Offer) -> Pool:
        if offer.is_known:
            return Pool.CANARY
        return Pool.PRIVATE if self._rng.random() < self.limits.private else Pool.OPEN

    def _draw(self, label: Label, pool: Pool, modality: str) -> sqlite3.Row:
        stratum = "generator" if label is Label.FAKE else "source"
        where = "state = 'ready' AND pool = ? AND modality = ? AND label = ?"
        chosen = [pool, modality, int(label)]
        with self._lock:
            names = self._connection.execute(
                f"SELECT DISTINCT {stratum} FROM items WHERE {where} ORDER BY 1", chosen
            ).fetchall()
            if not names:
                raise self.no_media(label)
            ids = self._connection.execute(
                f"SELECT id FROM items WHERE {where} AND {stratum} = ? ORDER BY id",
                [*chosen, self._rng.choice(names)[0]],
            ).fetchall()
            row = self._connection.execute(
                "SELECT * FROM items WHERE id = ?", [self._rng.choice(ids)[0]]
            ).fetchone()
        assert isinstance(row, sqlite3.Row)
        return row

    def _read(self, row: sqlite3.Row) -> bytes | None:
        """The file's bytes; a file that is damaged or gone is dropped with a line in the log."""
        path = self._folder / str(row["file"])
        data = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(data).hexdigest() == row["sha256"]:
            return data
        log.warning("%s is damaged or gone, and is dropped from the cache", path)
        self._drop(row, "damaged")
        return None

    def _count(self, row: sqlite3.Row) -> None:
        uses = 1 if row["pool"] == Pool.PRIVATE else self.limits.uses
        with self._lock, transaction(self._connection, self._path):
            self._connection.execute("UPDATE items SET sent = sent + 1 WHERE id = ?", [row["id"]])
        if row["sent"] + 1 >= uses:
            self._drop(row, "used")

    def _drop(self, row: sqlite3.Row, state: str | None) -> None:
        # The index first: a file without a row is swept away, a row without a file would be drawn.
        with self._lock, transaction(self._connection, self._path):
            if state is None:
                self._connection.execute("DELETE FROM items WHERE id = ?", [row["id"]])
            else:
                self._connection.execute("UPDATE items SET state = ? WHERE id = ?", [state, row["id"]])
        (self._folder / row["file"]).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Files that a process left behind when it was killed."""
        with self._lock:
            known = {row[0] for row in self._connection.execute("SELECT file FROM items WHERE state = 'ready'")}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()


def refill(cache: MediaCache, sources: Mapping[Label, Iterator[Offer]], stop: threading.Event) -> None:
    """Take from the sources until enough of both labels are ready, the cache is full, or they are empty.

    The label with fewer comes next, so that neither waits for the other.
    """
    open_sources = dict(sources)
    while open_sources and not stop.is_set() and not cache.is_full():
        label = min(open_sources, key=cache.ready)
        if cache.ready(label) >= cache.limits.ready:
            break
        offer = next(open_sources[label], None)
        if offer is None:
            del open_sources[label]
            cache.dry.add(label)
        else:
            cache.add(offer)


class Refilling:
    """While entered, a thread that keeps the cache filled; `error` is what ended it, if anything did."""

    def __init__(self, cache: MediaCache, sources: Mapping[Label, Iterator[Offer]]) -> None:
        self.error: VeridicalError | None = None
        self._cache = cache
        self._sources = sources
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refilling", daemon=True)

    def __enter__(self) -> Refilling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                refill(self._cache, self._sources, self._stop)
                self._stop.wait(_REFILL_SECONDS)
        except VeridicalError as error:
            self.error = error
            self._cache.dry |= set(Label)
            log.error("the cache is not refilled any more: %s", error.message)


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    # Written once, read a few times: fast matters more than small.
    PIL.Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
