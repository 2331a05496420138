"""Data sets of a hub by their id, fetched when they are first read, up to a limit, and kept in the cache.

The table names the sets that BitMind's subnet drew its real media from (ten of images, two of videos), and a
copy of CIFAKE. None could be obtained where this was written (no hub was in reach), so the fetching was only
tried against a small server of the same interface. Ids, labels and what the names promise are from
the subnet's published configuration; a licence is stated only where that of the original set is known.

A set is downloaded file by file (Parquet, ZIP, or single pictures), each file is unpacked into
`SPLIT/LABEL/NAME/`, and the download is removed. What fits the limit is taken, in a fixed order that alternates
between the splits; what does not is counted and said. Videos are unpacked and listed as samples, but pixels
are read from pictures alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from veridical.data import download as downloading
from veridical.data.download import check_online
from veridical.data.sample import Sample
from veridical.data.sources._files import labelled_files
from veridical.data.sources._info import SetInfo, SourceInfo
from veridical.data.sources._unpacking import UNPACKED, unpack
from veridical.errors import (
    DataError,
    MissingExtraError,
    SourceError,
    UnknownModelError,
    UsageError,
    did_you_mean,
)
from veridical.files import replace_file
from veridical.models.snapshots import cache_folder, parse_repository
from veridical.results import Label

# What `read` downloads of a set that is not in the cache; `veridical data download --most-gb` takes more.
MOST_BYTES = 2_000_000_000

_RECORD = "set.json"
_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|val|validation)(?=[/_.-])", re.IGNORECASE)
_UNKNOWN = "not verified: see its page"

_SETS = (
    SetInfo("bitmind/bm-real", "photographs of people, places and things", _UNKNOWN),
    SetInfo("bitmind/open-image-v7-256", "Open Images V7 at 256 px", _UNKNOWN),
    SetInfo("bitmind/celeb-a-hq", "faces: CelebA-HQ", "CC BY-NC 4.0 (CelebA-HQ)"),
    SetInfo("bitmind/ffhq-256", "faces: FFHQ at 256 px", "CC BY-NC-SA 4.0 (FFHQ)"),
    SetInfo("bitmind/MS-COCO-unique-256", "MS COCO at 256 px", _UNKNOWN),
    SetInfo("bitmind/AFHQ", "faces of animals: AFHQ", "CC BY-NC 4.0 (AFHQ)"),
    SetInfo("bitmind/lfw", "faces: Labeled Faces in the Wild", _UNKNOWN),
    SetInfo("bitmind/caltech-256", "objects: Caltech-256", _UNKNOWN),
    SetInfo("bitmind/caltech-101", "objects: Caltech-101", _UNKNOWN),
    SetInfo("bitmind/dtd", "Describable Textures", _UNKNOWN),
    SetInfo("nkp37/OpenVid-1M", "videos: OpenVid-1M", _UNKNOWN),
    SetInfo("shangxd/imagenet-vidvrd", "videos: ImageNet-VidVRD", _UNKNOWN),
    SetInfo(
        "dragonintelligence/CIFAKE-image-dataset",
        "CIFAKE (see the source `cifake`)",
        "MIT, as stated on CIFAKE's page",
        label=None,
        generator="stable-diffusion-1.4",
    ),
)

INFO = SourceInfo(
    title="Sets of a hub",
    about=f"{len(_SETS)} sets of the Hugging Face hub, downloaded when first read (extra: hub).",
    licence="differs by set",
    where="https://huggingface.co/datasets/OWNER/NAME",
    layout="hub:OWNER/NAME or hub:OWNER/NAME@REVISION",
    sets=_SETS,
)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Record:
    """State of a folder with a set: `files` were chosen under the limit, those of `done` are unpacked."""

    repository: str
    commit: str
    files: list[str]
    left_out: int
    done: list[str]

    @property
    def is_complete(self) -> bool:
        return set(self.files) == set(self.done)


def read(data: str) -> list[Sample]:
    """Samples of `owner/name@revision` in the order of their paths; downloads at most `MOST_BYTES` of it.

    A set in the cache is read from there, without the network. Raises what `download_set` raises.
    """
    info, revision = _find(data)
    folder = cache_folder() / "datasets" / info.name / revision
    record = _read_record(folder)
    if record is None or not record.is_complete:
        download_set(data, folder, most_bytes=MOST_BYTES, say=_log.warning)
    return [
        Sample(
            path=file.path,
            label=file.label,
            generator=info.generator if file.label is Label.FAKE else "",
            source=info.name,
            group=info.name,
            split=file.split,
        )
        for file in labelled_files(folder, {"real": Label.REAL, "fake": Label.FAKE})
    ]


def download_set(name: str, folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch a set to `folder`, as many of its files as `most_bytes` allow; goes on where it stopped.

    Raises `DataError` for a set that is not in the table, `MissingExtraError`, and `SourceError`.
    """
    info, revision = _find(name)
    record = _read_record(folder)
    if record is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else.", hint="Name a folder that does not exist yet.")
        check_online(f"hub:{info.name}")
        record = _choose_files(info.name, revision, most_bytes)
        _write_record(folder, record)
    if record.left_out:
        say(f"hub:{info.name}: {record.left_out} of its files are beyond the limit and left out")
    for file in record.files:
        if file not in record.done:
            check_online(f"hub:{info.name}")
            say(f"hub:{info.name}: {file} ({len(record.done) + 1} of {len(record.files)})")
            _take(info, record, file, folder)
            record.done.append(file)
            _write_record(folder, record)


def _find(data: str) -> tuple[SetInfo, str]:
    try:
        name, revision = parse_repository(data)
    except UnknownModelError:
        name, revision = "", ""
    found = next((info for info in _SETS if info.name == name), None)
    if found is None or "/" in revision:  # it names a folder of the cache
        raise DataError(
            f"There is no set '{data}' in the table of hub sets.",
            code="unknown_source",
            hint=did_you_mean(data, [info.name for info in _SETS]),
        )
    return found, revision


def _choose_files(repository: str, revision: str, most_bytes: int) -> _Record:
    commit, sizes = _retried(lambda: _list_files(repository, revision), repository)
    names = _alternating([name for name in sizes if _is_data(name)])
    chosen: list[str] = []
    for name in names:
        most_bytes -= sizes[name]
        if most_bytes < 0:
            break
        chosen.append(name)
    if not names:
        raise DataError(f"hub:{repository} holds no Parquet file, ZIP or picture.", code="empty_split")
    if not chosen:
        raise SourceError(
            f"{names[0]}, first file of hub:{repository}, has {sizes[names[0]]:,} bytes: more than allowed.",
            code="body_too_large",
            hint=f"veridical data download hub:{repository} -o DIR --most-gb N; then read DIR.",
        )
    return _Record(repository, commit, chosen, left_out=len(names) - len(chosen), done=[])


def _list_files(repository: str, revision: str) -> tuple[str, dict[str, int]]:
    """The commit, and the bytes of each file."""
    hub = _hub()
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    commit = str(api.dataset_info(repository, revision=revision).sha)
    entries = api.list_repo_tree(repository, repo_type="dataset", recursive=True, revision=commit)
    return commit, {entry.path: entry.size for entry in entries if isinstance(entry, hub.hf_api.RepoFile)}


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in UNPACKED and ".." not in path.parts and not path.is_absolute()


def _alternating(names: Sequence[str]) -> list[str]:
    """Sorted, but one of each split in turn, so that a limit leaves something of every split."""
    places: dict[str, int] = {}
    keys = []
    for name in sorted(names):
        split = _split(name)
        places[split] = places.get(split, 0) + 1
        keys.append((places[split], split, name))
    return [name for _, _, name in sorted(keys)]


def _split(name: str) -> str:
    found = _SPLIT.search(name)
    split = found[1].lower() if found else ""
    return "val" if split == "validation" else split


def _take(info: SetInfo, record: _Record, file: str, folder: Path) -> None:
    """Download one file, unpack it, and remove the download."""
    scratch = folder / ".download"
    hub = _hub()
    path = _retried(
        lambda: hub.hf_hub_download(
            record.repository,
            file,
            repo_type="dataset",
            revision=record.commit,
            local_dir=scratch,
            endpoint=os.environ.get("HF_ENDPOINT"),
        ),
        record.repository,
    )
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", file.rsplit(".", 1)[0])
    for place, (label, suffix, data) in enumerate(unpack(Path(path), file, info)):
        name = info.generator if label is Label.FAKE else info.name.replace("/", "_")
        target = folder / _split(file) / label.name.lower() / name / f"{stem}-{place:06d}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    shutil.rmtree(scratch)


def _retried(call: Callable[[], _T], repository: str) -> _T:
    errors = _hub().errors
    for attempt in range(downloading.ATTEMPTS):
        if attempt:
            time.sleep(downloading.FIRST_WAIT * 2 ** (attempt - 1))
        try:
            return call()
        except (
            errors.RepositoryNotFoundError,
            errors.RevisionNotFoundError,
            errors.HFValidationError,
        ) as error:
            raise SourceError(
                f"There is no hub data set {repository}, or it is not yours to read.",
                code="not_found",
                hint="For a private or gated set set HF_TOKEN.",
            ) from error
        except Exception as error:  # the rest are its HTTP client's, which change with its version
            if attempt + 1 == downloading.ATTEMPTS:
                raise SourceError(
                    f"hub:{repository} could not be downloaded: {error}", code="download_failed", retryable=True
                ) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _hub() -> Any:  # Any: its types are not ours to depend on, and it may be absent
    try:
        import huggingface_hub.errors
        import huggingface_hub.hf_api
    except ImportError as error:
        raise MissingExtraError("Data sets of a hub", extra="hub") from error
    return huggingface_hub


def _read_record(folder: Path) -> _Record | None:
    try:
        return _Record(**json.loads((folder / _RECORD).read_bytes()))
    except (OSError, ValueError, TypeError):  # absent or half-written: as good as none
        return None


def _write_record(folder: Path, record: _Record) -> None:
    replace_file(folder / _RECORD, json.dumps(asdict(record), indent=2).encode())
