"""Folds that never divide a group, so that what is measured out of fold holds for new publishers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from veridical.errors import DataError
from veridical.evaluation.metrics import Labels

FOLDS = 5

Places = npt.NDArray[np.intp]


def grouped_folds(
    labels: Labels, groups: Sequence[str], *, most: int = FOLDS, seed: int = 0
) -> list[tuple[Places, Places]]:
    """At most `most` pairs of (rest, held out); as many as the class with fewer groups allows.

    Raises `DataError` (`one_class`) if a class has a single group, or if a rest would hold one class alone.
    """
    of_class = [{g for g, is_of in zip(groups, labels == v, strict=True) if is_of} for v in (0, 1)]
    count = min(most, *map(len, of_class))
    if count < 2:
        raise _undivided("both classes need at least two groups")
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = list(splitter.split(np.zeros((len(labels), 1)), labels, groups))
    if any(len(set(labels[rest])) < 2 for rest, _ in folds):
        raise _undivided("some groups are so large that a fold leaves only one class to fit on")
    return folds


def _undivided(why: str) -> DataError:
    return DataError(
        f"The samples cannot be cut into folds: {why}.",
        code="one_class",
        hint="Take more publishers (the column group of a manifest) or generators.",
    )
