"""The files below a folder, each with the label that one of the folders above it gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veridical.data.sample import Sample
from veridical.errors import DataError
from veridical.results import Label

SPLITS = frozenset({"train", "val", "test"})

# What Windows leaves in folders; names with a leading dot are left out as well.
_NOT_DATA = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class LabelledFile:
    """A file, and the names of the folders `above` and `below` the one that gives its label."""

    path: Path
    label: Label
    above: tuple[str, ...]
    below: tuple[str, ...]

    @property
    def split(self) -> str:
        """The split that the folder right above the label's is named for, or nothing."""
        name = self.above[-1].lower() if self.above else ""
        return name if name in SPLITS else ""


def labelled_files(root: Path, labels: Mapping[str, Label]) -> list[LabelledFile]:
    """Every file below a folder that `labels` names (lower case), sorted by path, whatever its extension.

    A file that is no picture is among them, so that it is reported instead of vanishing. Links are followed.
    Raises `DataError` when there are none, or a folder cannot be listed.
    """
    found = []
    for path in sorted(_walk(root)):
        parts = path.relative_to(root).parts[:-1]
        at = next((i for i, part in enumerate(parts) if part.lower() in labels), None)
        if at is not None:
            found.append(LabelledFile(path, labels[parts[at].lower()], parts[:at], parts[at + 1 :]))
    if not found:
        raise DataError(
            f"{root} has no file below a folder named {' or '.join(sorted(labels))}.", code="empty_split"
        )
    return found


def real_and_fake(root: Path, *, source: str, generator: str) -> list[Sample]:
    """The samples below folders named real and fake, in the order of their paths; fakes are of `generator`."""
    return [
        Sample(
            path=file.path,
            label=file.label,
            generator=generator if file.label is Label.FAKE else "",
            source=source,
            group=source,
            split=file.split,
        )
        for file in labelled_files(root, {"real": Label.REAL, "fake": Label.FAKE})
    ]


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.", code="not_found")
    for folder, names, files in os.walk(root, onerror=_refuse, followlinks=True):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower() not in _NOT_DATA:
                yield Path(folder, name)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}", code="unreadable") from error
