"""Folds hold every sample out once and never divide a group."""

import numpy as np
import pytest

from veridical.errors import DataError
from veridical.evaluation.folds import grouped_folds

LABELS = np.arange(120) % 2
GROUPS = [f"{i % 2} {i % 12}" for i in range(120)]


def test_every_sample_is_held_out_once_with_its_whole_group() -> None:
    folds = grouped_folds(LABELS, GROUPS)
    assert len(folds) == 5
    assert sorted(np.concatenate([held for _, held in folds]).tolist()) == list(range(120))
    for rest, held in folds:
        assert not {GROUPS[i] for i in rest} & {GROUPS[i] for i in held}
        assert set(LABELS[rest]) == {0, 1}


def test_there_are_as_many_folds_as_the_class_with_fewer_groups_has() -> None:
    few = ["same" if label else group for label, group in zip(LABELS, GROUPS, strict=True)]
    with pytest.raises(DataError, match="two groups"):
        grouped_folds(LABELS, few)
    three = [f"fake {i % 3}" if label else GROUPS[i] for i, label in enumerate(LABELS)]
    assert len(grouped_folds(LABELS, three)) == 3
