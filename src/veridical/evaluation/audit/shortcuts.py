"""Can one family of features alone tell real from fake? Cross-validated balanced accuracy and its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from veridical.data.samples import Sample
from veridical.evaluation.audit.families import Features
from veridical.evaluation.intervals import bootstrap, group_bootstrap_indices, percentiles
from veridical.evaluation.metrics import Labels, Scores
from veridical.models.card import Estimate

# Above this balanced accuracy a family fails; 0.5 is guessing.
MOST_BALANCED_ACCURACY = 0.6

# With fewer samples of a class than this, guessing alone is above 60 % more than once in twenty tries.
LEAST_PER_CLASS = 35

_ROUNDS = 1000

_Folds = Iterable[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True)
class Shortcut:
    """How well one family of features tells the label of a sample that its classifier was not fitted on.

    `balanced_accuracy`: of pictures from the same publishers, files never divided between folds; its interval
    is a bootstrap within classes. `grouped`: of pictures from publishers that it was not fitted on; its
    interval is a bootstrap of publishers. Where only the first is high, each publisher gives its labels away
    in its own manner: a network learns that too, but gains nothing from it elsewhere. `None` where too few
    samples or publishers allow no statement; `note` says why.

    It `failed` if the balanced accuracy is above MOST_BALANCED_ACCURACY, by its value, because to overlook a
    shortcut costs more than to look at a harmless one twice; and its interval excludes 0.5, because what
    guessing can do is no finding.
    """

    balanced_accuracy: Estimate | None
    grouped: Estimate | None
    failed: bool
    note: str = ""


def measure(
    families: Mapping[str, Features], samples: Sequence[Sample], *, folds: int = 5, seed: int = 0
) -> dict[str, Shortcut]:
    """Each family by name, over the samples that it says something of. `folds` is at least 2."""
    return {name: _measure(values, samples, folds=folds, seed=seed) for name, values in families.items()}


def _measure(values: Features, samples: Sequence[Sample], *, folds: int, seed: int) -> Shortcut:
    rows = np.flatnonzero(~np.isnan(values).all(axis=1)) if len(samples) else np.array([], np.intp)
    chosen = [samples[row] for row in rows]
    labels = np.array([int(sample.label) for sample in chosen])
    fewest = min(int((labels == 0).sum()), int((labels == 1).sum()))
    if fewest < LEAST_PER_CLASS:
        return Shortcut(None, None, failed=False, note=f"not measured: {fewest} samples of the smaller class")
    predicted = _out_of_fold(values[rows], labels, _by_file(chosen, labels, folds, seed), seed)
    value = bootstrap(_balanced_accuracy, labels, predicted, rounds=_ROUNDS, seed=seed)
    grouped = _grouped(values[rows], labels, chosen, folds, seed)
    failed = value.value > MOST_BALANCED_ACCURACY and value.low > 0.5
    return Shortcut(value, grouped, failed, "" if grouped else "too few publishers of a class to group by")


def _by_file(samples: Sequence[Sample], labels: Labels, folds: int, seed: int) -> _Folds:
    """Folds stratified by label, with the regions of one file in the same fold."""
    names = [sample.name for sample in samples]
    _, first, files = np.unique(names, return_index=True, return_inverse=True)
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for _, test in splitter.split(first, labels[first]):
        in_test = np.isin(files, test)
        yield np.flatnonzero(~in_test), np.flatnonzero(in_test)


def _grouped(
    values: Features, labels: Labels, samples: Sequence[Sample], folds: int, seed: int
) -> Estimate | None:
    """With whole publishers left out, or `None` where some fold would then be fitted on one class."""
    groups = np.array([sample.group or sample.source for sample in samples])
    folds = min(folds, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    if folds < 2:
        return None
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(values, labels, groups))
    if any(len(np.unique(labels[train])) < 2 for train, _ in parts):
        return None
    predicted = _out_of_fold(values, labels, parts, seed)
    draws = group_bootstrap_indices(list(groups), rounds=_ROUNDS, seed=seed)
    # A draw of publishers of one class only has no balanced accuracy, and does not count.
    drawn = np.array([_balanced_accuracy(labels[draw], predicted[draw]) for draw in draws])
    return percentiles(_balanced_accuracy(labels, predicted), drawn, n=len(labels))


def _out_of_fold(values: Features, labels: Labels, parts: _Folds, seed: int) -> Scores:
    """For each sample the label that a classifier gives it that was fitted on the other folds."""
    predicted = np.full(len(labels), np.nan)
    for train, test in parts:
        # Small trees, few of them: what is sought is a gross difference, and a finding should not be one of
        # a classifier that learns each picture by heart.
        model = HistGradientBoostingClassifier(
            max_iter=30,
            learning_rate=0.2,
            max_leaf_nodes=8,
            max_bins=64,
            min_samples_leaf=5,
            class_weight="balanced",
            early_stopping=False,
            random_state=seed,
        )
        predicted[test] = model.fit(values[train], labels[train]).predict(values[test])
    return predicted


def _balanced_accuracy(labels: Labels, predicted: Scores) -> float:
    """Balanced accuracy as scikit-learn's, in a hundredth of its time; `nan` without both classes."""
    fakes = labels == 1
    if fakes.all() or not fakes.any():
        return float("nan")
    return float(predicted[fakes].mean() + (1 - predicted[~fakes]).mean()) / 2
