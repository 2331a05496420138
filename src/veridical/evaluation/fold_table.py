"""The table of a leave-one-out run: a row for each fold, and the mean of the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from veridical.evaluation.benchmark import Cells, summarise
from veridical.evaluation.predictions import Prediction
from veridical.models.card import Estimate

# What is asked of a detector that meets something new.
CELLS = (
    "auroc",
    "balanced_accuracy",
    "tpr_at_fpr_1",
    "tpr_at_fpr_5",
    "ece",
    "real_accuracy",
    "fake_accuracy",
)


def fold_table(folds: Mapping[str, Sequence[Prediction]], *, rounds: int = 1000) -> dict[str, Cells]:
    """Some metrics of each fold; what is not defined in it, such as an AUROC without fakes, is absent."""
    table = {}
    for name, rows in folds.items():
        found = summarise(rows, rounds=rounds)
        table[name] = {cell: found[cell] for cell in CELLS if cell in found and found[cell].n}
    return table


def mean_of_folds(table: Mapping[str, Cells], *, rounds: int = 10_000, seed: int = 0) -> Cells:
    """The mean of each metric over the folds that have it, as many as `n` says.

    The interval is that of a bootstrap which draws whole folds: each is one generator (or source, or publisher)
    out of those that might have been met, and carries its own noise with it.
    """
    means = {}
    for cell in CELLS:
        values = np.array([cells[cell].value for cells in table.values() if cell in cells])
        if not len(values):
            continue
        draws = np.random.default_rng(seed).choice(values, size=(rounds, len(values))).mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975]).tolist()
        means[cell] = Estimate(value=float(values.mean()), low=low, high=high, n=len(values))
    return means
