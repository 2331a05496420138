"""Files that are kept for measuring from outside, and are therefore never trained on.

Their sha256 stand in a list `kept-back.sha256`, one on each line (what follows the hash is a remark), that lies
beside a data set or in a folder above it; `VERIDICAL_KEPT_BACK` names one more list, wherever it is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from veridical.data.samples import Sample, file_sha256
from veridical.errors import DataError, UsageError

NAME = "kept-back.sha256"

_MOST_NAMED = 20


def require_not_kept_back(samples: Sequence[Sample], near: Iterable[Path] = ()) -> None:
    """Raise `DataError` (`kept_back`) if the hash of a sample's file stands in a list, with its publishers.

    Lists are looked for beside and above the samples, and the files and folders of `near`. Of hashes the
    manifest's word is taken, where it gives one.
    """
    hashes = _read_lists([*{sample.path.parent for sample in samples}, *near])
    if not hashes:
        return
    found = Counter(
        sample.group or sample.source
        for sample in samples
        if (sample.sha256 or file_sha256(sample.path)) in hashes
    )
    if found:
        named = ", ".join(f"{name or 'unnamed'} ({count})" for name, count in found.most_common(_MOST_NAMED))
        more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise DataError(
            f"{found.total()} samples are kept back for measuring, and must not be trained on: {named}{more}.",
            code="kept_back",
            hint="Leave these publishers out of the set, whole: whoever knows one picture of a publisher knows "
            "how the others were made.",
        )


def _read_lists(places: Iterable[Path]) -> frozenset[str]:
    forms = {form for place in places for form in (place.absolute(), place.resolve())}
    folders = {folder for form in forms for folder in (form, *form.parents)}
    lists = [path for folder in folders if (path := folder / NAME).is_file()]
    named = os.environ.get("VERIDICAL_KEPT_BACK")
    if named:
        lists.append(Path(named))
    return frozenset(line.split()[0].lower() for path in lists for line in _lines(path) if line.strip())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The list {path} of what is kept back cannot be read: {error}", hint="See VERIDICAL_KEPT_BACK."
        ) from error
