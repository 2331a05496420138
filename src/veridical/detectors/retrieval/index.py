"""An index of known pictures: perceptual hashes, embeddings if wanted, and a label, in one file without code.

The file is NumPy's `.npz` (arrays in a ZIP that is not compressed, nothing pickled), followed by the 32 bytes
of its sha256. It is read whole and not mapped: a file replaced meanwhile cannot change or end under a query.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from veridical.errors import DataError, ModelError, UsageError
from veridical.files import replace_file
from veridical.models.snapshots import cache_folder
from veridical.results import Label

Array = NDArray[Any]  # Any: columns are whole numbers of 8 to 64 bits, and float16

SUFFIX = ".index"
VARIABLE = "VERIDICAL_INDEX"
DEFAULT_NAME = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST_BYTES = 32

# One row for each entry but for the last three: names are one run of UTF-8, cut at `name_end`, and only some
# entries have a PDQ hash, of which `pdq_row` says whose it is. Beside them are the names of the `sources`.
_DTYPES = {
    "dhash": "<u8",
    "label": "|u1",
    "source": "<u4",
    "name_end": "<u8",
    "names": "|u1",
    "pdq": "<u8",
    "pdq_row": "<u4",
}
# The same of embeddings by `models.wheels.CLIP_VIT_B16`: in files that have some.
_EMBEDDING_DTYPES = {"clip_vit_b16": "<f2", "clip_vit_b16_row": "<u4"}

EMBEDDING_LENGTH = 512


class KnownPicture(NamedTuple):
    """A known picture. `name` is its file's, or its line in a list of hashes; `pdq` are 32 bytes.

    `embedding` are 512 float16, little-endian, of length 1.
    """

    dhash: int
    label: Label
    source: str
    name: str
    pdq: bytes | None = None
    embedding: bytes | None = None


@dataclass(frozen=True)
class Match:
    """An entry near what was looked for; distances in bits, `None` for what was not compared or is not near."""

    entry: KnownPicture
    dhash_distance: int | None
    pdq_distance: int | None
    cosine: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether a hash is near. An embedding alone tells what a picture shows, not which picture it is."""
        return self.dhash_distance is not None or self.pdq_distance is not None


class Index:
    """Known pictures in memory; `sha256` names its content."""

    def __init__(self, sources: list[str], arrays: dict[str, Array], sha256: str) -> None:
        self.sha256 = sha256
        self.sources = sources
        self._arrays = arrays
        self._dhash = arrays["dhash"]
        self._pdq, self._pdq_row = arrays["pdq"], arrays["pdq_row"]
        embeddings = arrays.get("clip_vit_b16", np.zeros((0, EMBEDDING_LENGTH)))
        self._embedding = embeddings.astype(np.float32)  # float16 is multiplied ten times as slowly
        self._embedding_row = arrays.get("clip_vit_b16_row", np.zeros(0, np.uint32))

    def __len__(self) -> int:
        return len(self._dhash)

    @property
    def has_pdq(self) -> bool:
        """Whether some entry has a PDQ hash."""
        return len(self._pdq_row) > 0

    @property
    def has_embeddings(self) -> bool:
        """Whether some entry has an embedding."""
        return len(self._embedding_row) > 0

    def entries(self) -> Iterator[KnownPicture]:
        """All of them, in the file's order."""
        return map(self._entry, range(len(self)))

    def counts(self) -> dict[tuple[Label, str], int]:
        """The number of entries of each label and source."""
        keys = self._arrays["label"].astype(np.int64) << 32 | self._arrays["source"].astype(np.int64)
        found, numbers = np.unique(keys, return_counts=True)
        return {
            (Label(int(key) >> 32), self.sources[int(key) & 0xFFFF_FFFF]): int(number)
            for key, number in zip(found, numbers, strict=True)
        }

    def find(
        self,
        *,
        dhash: int | None = None,
        dhash_radius: int = 0,
        pdq: bytes | None = None,
        pdq_radius: int = 0,
        embedding: bytes | None = None,
        least_cosine: float = 1.0,
    ) -> list[Match]:
        """Every entry within the radius of a hash, bits, or of at least that cosine; the nearest first."""
        by_dhash = {} if dhash is None else _within(self._dhash ^ np.uint64(dhash), dhash_radius)
        by_pdq = {}
        if pdq is not None and self.has_pdq:
            found = _within(self._pdq ^ np.frombuffer(pdq, "<u8"), pdq_radius)
            by_pdq = {int(self._pdq_row[row]): distance for row, distance in found.items()}
        by_embedding = {}
        if embedding is not None and self.has_embeddings:
            cosines = self._embedding @ np.frombuffer(embedding, "<f2").astype(np.float32)
            rows = np.flatnonzero(cosines >= least_cosine)
            by_embedding = {int(self._embedding_row[row]): float(cosines[row]) for row in rows}
        matches = [
            Match(self._entry(row), by_dhash.get(row), by_pdq.get(row), by_embedding.get(row))
            for row in sorted(by_dhash | by_pdq | by_embedding)
        ]
        return sorted(matches, key=_nearness)

    def _entry(self, row: int) -> KnownPicture:
        ends = self._arrays["name_end"]
        start, end = (int(ends[row - 1]) if row else 0), int(ends[row])
        pdq, embedding = _place(self._pdq_row, row), _place(self._embedding_row, row)
        return KnownPicture(
            dhash=int(self._dhash[row]),
            label=Label(int(self._arrays["label"][row])),
            source=self.sources[int(self._arrays["source"][row])],
            name=self._arrays["names"][start:end].tobytes().decode(errors="surrogateescape"),
            pdq=None if pdq is None else self._pdq[pdq].tobytes(),
            embedding=None if embedding is None else self._embedding[embedding].astype("<f2").tobytes(),
        )


def index_path(index: str | None) -> Path:
    """The file of an index: a path (it has a separator, or ends in `.index`), or a name in the user's cache.

    Without one, what the variable `VERIDICAL_INDEX` says, else the index `default`. Raises `UsageError`.
    """
    chosen = index or os.environ.get(VARIABLE) or DEFAULT_NAME
    if chosen.endswith(SUFFIX) or os.sep in chosen or (os.altsep and os.altsep in chosen):
        return Path(chosen)
    if not _NAME.fullmatch(chosen):
        raise UsageError(f"{chosen!r} is no name of an index.", hint="Letters, digits, '.', '_' and '-'.")
    return cache_folder() / "indexes" / f"{chosen}{SUFFIX}"


def list_indexes() -> list[str]:
    """The names of the indexes in the user's cache."""
    return sorted(path.stem for path in (cache_folder() / "indexes").glob(f"*{SUFFIX}"))


def read_index(path: Path) -> Index:
    """The index in a file. Raises `ModelError`: `missing_index`, `malformed_index`, `hash_mismatch`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"There is no index of known pictures at {path}.",
            code="missing_index",
            hint="Make one: veridical index build --label real FOLDER; then: index add --label fake FOLDER.",
        ) from error
    except OSError as error:
        raise _malformed(path, str(error)) from error
    written, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not written.startswith(b"PK"):
        raise _malformed(path, "it does not begin like one")
    if hashlib.sha256(written).digest() != digest:
        raise ModelError(
            f"The index {path} is not as it was written.",
            code="hash_mismatch",
            hint="The file was damaged or changed. Build it again.",
        )
    try:
        arrays = _unpack(written)
        sources = [str(name) for name in arrays.pop("sources")]
        _require_consistent(sources, arrays)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError, OSError, zipfile.BadZipFile) as error:
        raise _malformed(path, str(error)) from error
    return Index(sources, arrays, digest.hex())


def write_index(path: Path, entries: Iterable[KnownPicture]) -> int:
    """Write entries, each once, in the place of what is at `path`, in one step; gives their number."""
    kept = list(dict.fromkeys(entries))
    sources = sorted({entry.source for entry in kept})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, sources=np.array(sources, np.str_), **_to_arrays(kept, sources))
    data = buffer.getvalue()
    replace_file(path, data + hashlib.sha256(data).digest())
    return len(kept)


def read_hash_list(path: Path, label: Label) -> Iterator[KnownPicture]:
    """The entries of a text file with one dHash, 16 hex digits, a line: named by line, the source by the file.

    Raises `DataError` that names the line.
    """
    source = path.name.removesuffix(".txt").removesuffix(".dhash")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list of hashes {path} cannot be read: {error}", code="not_found") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not re.fullmatch(r"[0-9A-Fa-f]{16}", line.strip()):
            raise DataError(
                f"{path}, line {number}: {line[:40]!r} is not a dHash.", hint="16 hex digits, one a line."
            )
        yield KnownPicture(int(line, 16), label, source, name=f"line {number}")


def _place(owners: Array, row: int) -> int | None:
    """The place of the owner `row` in a rising list of owners."""
    place = int(np.searchsorted(owners, np.uint32(row)))
    return place if place < len(owners) and int(owners[place]) == row else None


def _within(difference: Array, radius: int) -> dict[int, int]:
    """The rows with at most `radius` bits set, and how many."""
    distances = np.bitwise_count(difference)
    if distances.ndim == 2:
        distances = distances.sum(axis=1, dtype=np.uint16)
    rows = np.flatnonzero(distances <= radius)
    return {int(row): int(distances[row]) for row in rows}


def _nearness(match: Match) -> float:
    """Share of bits that differ, by the hash that is nearer; all copies before what only shows the same."""
    if not match.is_copy:
        return 2 - (match.cosine or 0)
    shares = []
    if match.dhash_distance is not None:
        shares.append(match.dhash_distance / 64)
    if match.pdq_distance is not None:
        shares.append(match.pdq_distance / 256)
    return min(shares)


def _to_arrays(entries: list[KnownPicture], sources: list[str]) -> dict[str, Array]:
    places = {source: place for place, source in enumerate(sources)}
    names = [entry.name.encode(errors="surrogateescape") for entry in entries]
    hashed = [(row, entry.pdq) for row, entry in enumerate(entries) if entry.pdq is not None]
    values: dict[str, Array] = {
        "dhash": np.array([entry.dhash for entry in entries], np.uint64),
        "label": np.array([entry.label for entry in entries], np.uint8),
        "source": np.array([places[entry.source] for entry in entries], np.uint32),
        "name_end": np.cumsum([len(name) for name in names], dtype=np.uint64),
        "names": np.frombuffer(b"".join(names), np.uint8),
        "pdq": np.frombuffer(b"".join(pdq for _, pdq in hashed), "<u8").reshape(-1, 4),
        "pdq_row": np.array([row for row, _ in hashed], np.uint32),
    }
    arrays = {name: values[name].astype(dtype) for name, dtype in _DTYPES.items()}
    embedded = [(row, entry.embedding) for row, entry in enumerate(entries) if entry.embedding is not None]
    if embedded:
        joined = b"".join(embedding for _, embedding in embedded)
        arrays["clip_vit_b16"] = np.frombuffer(joined, "<f2").reshape(-1, EMBEDDING_LENGTH)
        arrays["clip_vit_b16_row"] = np.array([row for row, _ in embedded], "<u4")
    return arrays


def _unpack(data: bytes) -> dict[str, Array]:
    """The arrays in an `.npz`; raises one of several errors for anything else."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.zip.infolist()):
            raise ValueError("it is compressed")  # and may unpack to more than memory holds
        return {name: file[name] for name in file.files}


def _require_consistent(sources: list[str], arrays: dict[str, Array]) -> None:
    """Raise `ValueError` for arrays that were never written by us, so that no query can fail on them."""
    if arrays.keys() not in (_DTYPES.keys(), _DTYPES.keys() | _EMBEDDING_DTYPES.keys()):
        raise ValueError("it has other arrays than an index")
    if any(array.dtype != (_DTYPES | _EMBEDDING_DTYPES)[name] for name, array in arrays.items()):
        raise ValueError("its arrays hold other numbers")
    rows, ends, owners = arrays["dhash"].shape, arrays["name_end"], arrays["pdq_row"]
    if len(rows) != 1 or not all(arrays[name].shape == rows for name in ("label", "source", "name_end")):
        raise ValueError("its arrays differ in length")
    if owners.ndim != 1 or arrays["pdq"].shape != (len(owners), 4) or arrays["names"].ndim != 1:
        raise ValueError("its arrays have wrong shapes")
    limits = ((arrays["label"], 2), (arrays["source"], len(sources)), (owners, rows[0]))
    if any(len(array) and int(array.max()) >= limit for array, limit in limits):
        raise ValueError("a number in it points nowhere")
    if not (_rises(ends) and _rises(owners)) or (len(ends) and int(ends[-1]) > len(arrays["names"])):
        raise ValueError("its names or rows are out of order")
    if "clip_vit_b16" in arrays:
        _require_embeddings(arrays["clip_vit_b16"], arrays["clip_vit_b16_row"], rows[0])


def _require_embeddings(embeddings: Array, owners: Array, entries: int) -> None:
    if owners.ndim != 1 or embeddings.shape != (len(owners), EMBEDDING_LENGTH) or not _rises(owners):
        raise ValueError("its embeddings have wrong shapes or are out of order")
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1)
    if not (np.abs(lengths - 1) < 0.01).all() or (owners >= entries).any():  # false of NaN too
        raise ValueError("its embeddings are not of length 1, or point nowhere")


def _rises(array: Array) -> bool:
    return bool((array[1:] >= array[:-1]).all())


def _malformed(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is no index of known pictures: {why}.",
        code="malformed_index",
        hint="See 'veridical index --help'.",
    )
