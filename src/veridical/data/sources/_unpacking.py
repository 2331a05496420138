"""The files of a hub data set become pictures with labels: Parquet, ZIP, or the picture itself."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from veridical.data.sources._info import SetInfo
from veridical.errors import DataError, MissingExtraError
from veridical.media.sniff import sniff
from veridical.media.sources import EXTENSIONS
from veridical.results import Label

_MEDIA = EXTENSIONS | {".mp4", ".webm", ".mov", ".mkv", ".avi"}
UNPACKED = _MEDIA | {".parquet", ".zip"}

# A longer file in a ZIP is no picture and no clip.
_MOST_MEMBER_BYTES = 1_000_000_000
_ROWS_AT_ONCE = 64

_Picture = tuple[Label, str, bytes]


def unpack(path: Path, name: str, info: SetInfo) -> Iterator[_Picture]:
    """(label, extension, bytes) of each picture or video in a file that the set calls `name`, in its order.

    A row without a picture gives no bytes, so that it is counted as unreadable. Raises `DataError`
    (`bad_download`) for a file that cannot be unpacked, or whose labels are not known.
    """
    kinds = {".parquet": _from_parquet, ".zip": _from_zip}
    try:
        yield from kinds.get(PurePosixPath(name).suffix.lower(), _itself)(path, name, info)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{name} of hub:{info.name} cannot be unpacked: {error}", code="bad_download"
        ) from error


def _itself(path: Path, name: str, info: SetInfo) -> Iterator[_Picture]:
    yield _label_of_path(name, info), PurePosixPath(name).suffix.lower(), path.read_bytes()


def _from_zip(path: Path, name: str, info: SetInfo) -> Iterator[_Picture]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            suffix = PurePosixPath(entry.filename).suffix.lower()
            if entry.is_dir() or suffix not in _MEDIA:
                continue
            if entry.file_size > _MOST_MEMBER_BYTES:
                raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes")
            yield _label_of_path(f"{name}/{entry.filename}", info), suffix, archive.read(entry)


def _from_parquet(path: Path, name: str, info: SetInfo) -> Iterator[_Picture]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("Parquet files of a hub", extra="hub") from error
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        column = _picture_column(schema)
        has_label = info.label is None
        classes = _class_names(schema.metadata or {}) if has_label else []
        columns = [column, "label"] if has_label else [column]
        for rows in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
            for row in rows.to_pylist():
                cell = row[column]
                data = (cell or {}).get("bytes") if isinstance(cell, dict | None) else cell
                label = info.label if info.label is not None else _label_of_class(row["label"], classes)
                yield label, f".{sniff((data or b'')[:4096]) or 'bin'}", data or b""


def _picture_column(schema: Any) -> str:
    """The first column of bytes, or of the pairs (bytes, path) in which pictures are kept."""
    types = importlib.import_module("pyarrow.types")
    for field in schema:
        parts = [part.name for part in field.type] if types.is_struct(field.type) else []
        if "bytes" in parts or types.is_binary(field.type) or types.is_large_binary(field.type):
            return str(field.name)
    raise ValueError(f"no column of pictures among {', '.join(schema.names)}")


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """The names of its classes by the file's own word, in the order of their numbers.

    The file is asked rather than a table of ours: whoever gets this backwards trains an inverted detector.
    """
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError) as error:
        raise ValueError("it does not say which of its labels is real") from error
    return [str(name).lower() for name in names]


def _label_of_class(number: object, classes: list[str]) -> Label:
    name = classes[number] if isinstance(number, int) and 0 <= number < len(classes) else str(number)
    if name not in ("real", "fake"):
        raise ValueError(f"the label {name!r} is neither real nor fake")
    return Label[name.upper()]


def _label_of_path(name: str, info: SetInfo) -> Label:
    if info.label is not None:
        return info.label
    for part in PurePosixPath(name).parts:
        if part.lower() in ("real", "fake"):
            return Label[part.upper()]
    raise ValueError(f"{name} lies below no folder named real or fake")
