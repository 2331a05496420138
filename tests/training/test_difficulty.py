"""The learning curve of the first epoch."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.errors import UsageError
from veridical.evaluation.intervals import bootstrap
from veridical.evaluation.metrics import auroc
from veridical.training.difficulty import auroc_interval, learning_curve
from veridical.training.experiment import load_experiment, with_values
from veridical.training.loop import Run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, size in (("train", 48), ("val", 16)):
        for index in range(size):
            path = tmp_path / "set" / split / ("real/a", "fake/g")[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            level = (100, 200)[index % 2]
            PIL.Image.fromarray(rng.integers(0, level, (40, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def test_the_curve_has_a_point_every_few_steps_and_at_the_end(pictures: Path, tmp_path: Path) -> None:
    experiment = with_values(load_experiment("cifake_cnn"), batch_size=8, data=str(pictures))
    said: list[str] = []
    run = Run(tmp_path / "runs", say=said.append)
    points = learning_curve(experiment, run, every=4)
    assert [point.step for point in points] == [4, 6]
    assert [point.samples_seen for point in points] == [32, 48]
    for point in points:
        assert 0 <= point.auroc.low <= point.auroc.value <= point.auroc.high <= 1
        assert point.auroc.n == 16
    said.clear()
    assert learning_curve(experiment, run, every=4) == points
    assert [p.step for p in learning_curve(experiment, run, every=2)] == [2, 4, 6]


def test_a_head_on_cached_embeddings_has_no_such_curve(tiny_backbone: str, tmp_path: Path) -> None:
    head = with_values(load_experiment("clip_linear"), backbone=tiny_backbone, blocks=[1])
    with pytest.raises(UsageError, match="no curve inside an epoch"):
        learning_curve(head, Run(tmp_path), every=2)


def test_the_interval_is_near_that_of_the_bootstrap_where_the_scores_are_known() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [200, 150])
    scores = rng.normal(labels, 1.0)
    expected = bootstrap(auroc, labels, scores, rounds=1000)
    found = auroc_interval(expected.value, reals=200, fakes=150)
    assert found.n == 350
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_perfect_auroc_has_no_width() -> None:
    assert auroc_interval(1.0, reals=9, fakes=9).low == 1.0
