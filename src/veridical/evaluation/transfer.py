"""Transfer of a detector to other sets than its own: for each set, and for each class of content."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veridical.evaluation.benchmark import Benchmark, Cells, measure, per_content
from veridical.evaluation.predictions import Prediction


@dataclass(frozen=True)
class Transfer:
    """One set: everything a benchmark says of it, and the contents again by their super-classes.

    Contents are as the set names them, `SUPERCLASS/CLASS` in CIFAR-100. Of a set of reals alone only the
    accuracy on reals means anything.
    """

    benchmark: Benchmark
    super_classes: dict[str, Cells]


def transfer_table(sets: Mapping[str, Sequence[Prediction]], *, rounds: int = 1000) -> dict[str, Transfer]:
    """Each set by its name."""
    return {
        name: Transfer(measure(rows, rounds=rounds), per_content(_coarse(rows), rounds=rounds))
        for name, rows in sets.items()
    }


def _coarse(rows: Sequence[Prediction]) -> list[Prediction]:
    """With super-classes for contents; none where contents have no super-classes."""
    if not any("/" in row.content for row in rows):
        return [dataclasses.replace(row, content="") for row in rows]
    return [dataclasses.replace(row, content=row.content.partition("/")[0]) for row in rows]
