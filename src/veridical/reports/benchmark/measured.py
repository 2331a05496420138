"""Measured results, from which the page, the tables and the lists are made."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError
from veridical.evaluation import robustness
from veridical.evaluation.benchmark import Benchmark
from veridical.evaluation.comparison import Comparison, compare
from veridical.evaluation.metrics import Labels, Scores
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.evaluation.robustness import Robustness
from veridical.models.card import Estimate
from veridical.reports.escaping import visible


@dataclass(frozen=True, eq=False)
class Measured:
    """One detector, its predictions with one perturbation, and what was measured on them."""

    name: str
    rows: Sequence[Prediction]
    labels: Labels
    scores: Scores
    benchmark: Benchmark

    @property
    def metrics(self) -> dict[str, Estimate]:
        """Over all pictures."""
        return self.benchmark.metrics

    @property
    def reals(self) -> int:
        """How many pictures are real."""
        return int((self.labels == 0).sum())

    @property
    def fakes(self) -> int:
        """How many pictures are fake."""
        return int((self.labels == 1).sum())

    @property
    def is_ranked(self) -> bool:
        """Whether there are both reals and fakes to rank."""
        return "auroc" in self.metrics

    @property
    def has_threshold(self) -> bool:
        """Whether it ever calls a picture AI."""
        return not all(math.isnan(row.threshold_ai) for row in self.rows)

    @property
    def has_threshold_real(self) -> bool:
        """Whether it ever calls a picture real."""
        return not all(math.isnan(row.threshold_real) for row in self.rows)

    @property
    def is_constant(self) -> bool:
        """Whether every picture gets the same score."""
        return len(np.unique(self.scores)) == 1


@dataclass(frozen=True)
class Compared:
    """The best detector less the one called `name`; where they cannot be compared, `problem` says why."""

    name: str
    comparison: Comparison | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Results:
    """Every detector, the highest AUROC first, and how the intervals were made.

    `every_row` holds the rows of all perturbations; `perturbation` names that of `detectors`.
    """

    detectors: tuple[Measured, ...]
    every_row: Sequence[Prediction]
    perturbation: str
    rounds: int
    by_group: bool

    @functools.cached_property
    def comparisons(self) -> tuple[Compared, ...]:
        """The first detector compared with each of the others."""
        best, *others = self.detectors
        return tuple(_compared(best, other, rounds=self.rounds, by_group=self.by_group) for other in others)

    @functools.cached_property
    def robustness(self) -> dict[str, dict[str, Robustness]]:
        """Each detector (as its rows call it) after each perturbation; empty if there is nothing to compare."""
        found = {row.perturbation for row in self.every_row}
        if "none" not in found or len(found) == 1:
            return {}
        return robustness.measure(self.every_row, rounds=self.rounds)

    @property
    def bootstrap(self) -> str:
        """The intervals of metrics, explained in a sentence."""
        unit = "whole groups (publishers)" if self.by_group else "pictures, reals and fakes apart"
        return f"95 % intervals are those of the percentile bootstrap, {self.rounds:,} draws of {unit}."

    @property
    def wilson(self) -> str:
        """The intervals of rates, explained in a sentence."""
        wider = ", widened where the bootstrap of whole groups (publishers) is wider" if self.by_group else ""
        return f"95 % intervals of rates are Wilson’s{wider}."


def results(
    rows: Mapping[str, Sequence[Prediction]],
    benchmarks: Mapping[str, Benchmark],
    *,
    every_row: Sequence[Prediction],
    rounds: int,
    by_group: bool,
) -> Results:
    """The results from `benchmark.by_detector`'s rows and `benchmark.measure`'s cells by name, sorted."""
    measured = [_measured(name, chosen, benchmarks[name]) for name, chosen in rows.items()]
    measured.sort(key=lambda m: (-m.metrics["auroc"].value if m.is_ranked else math.inf, m.name))
    return Results(
        detectors=tuple(measured),
        every_row=every_row,
        perturbation=measured[0].rows[0].perturbation,
        rounds=rounds,
        by_group=by_group,
    )


def _measured(name: str, rows: Sequence[Prediction], benchmark: Benchmark) -> Measured:
    labels, scores, _ = as_arrays(rows)
    return Measured(name=visible(name), rows=rows, labels=labels, scores=scores, benchmark=benchmark)


def _compared(best: Measured, other: Measured, *, rounds: int, by_group: bool) -> Compared:
    try:
        return Compared(other.name, compare(best.rows, other.rows, rounds=rounds, by_group=by_group))
    except DataError as error:  # sets that do not overlap: the other tables stand without it
        return Compared(other.name, None, visible(error.message))
