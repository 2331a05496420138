"""A folder with `real/` and `fake/`; a folder below either names the source or the generator.

`SPLIT/real/` and `SPLIT/fake/` (train, val, test) are read as splits. `0_real` and `1_fake`, the names of
ForenSynths, are understood too.
"""

from __future__ import annotations

from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources._info import SourceInfo
from veridical.errors import DataError
from veridical.media.sources import EXTENSIONS
from veridical.results import Label

_LABELS = {"real": Label.REAL, "0_real": Label.REAL, "fake": Label.FAKE, "1_fake": Label.FAKE}

INFO = SourceInfo(
    title="A folder",
    about="Your own pictures.",
    licence="yours",
    where="your disk",
    layout="[SPLIT/]real/[SOURCE/], [SPLIT/]fake/[GENERATOR/]; also 0_real and 1_fake",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their paths."""
    root = Path(data)
    samples = [
        sample
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix.lower() in EXTENSIONS
        if (sample := _sample(root, path)) is not None
    ]
    if not samples:
        raise DataError(f"{root} has no pictures below a folder named real or fake.", code="empty_split")
    return samples


def _sample(root: Path, path: Path) -> Sample | None:
    parts = path.relative_to(root).parts[:-1]
    at = next((i for i, part in enumerate(parts) if part.lower() in _LABELS), None)
    if at is None:
        return None
    label = _LABELS[parts[at].lower()]
    name = parts[at + 1] if len(parts) > at + 1 else ""
    return Sample(
        path=path,
        label=label,
        generator=(name or "unnamed") if label is Label.FAKE else "",
        source=name or root.name,
        group=name or root.name,
        split=parts[0] if at > 0 else "",
    )
