"""What is left on other sets, by content and by super-class."""

import numpy as np

from veridical.evaluation.predictions import Prediction
from veridical.evaluation.transfer import transfer_table


def row(number: int, content: str, score: float, *, label: str = "real") -> Prediction:
    return Prediction(
        detector="d",
        bundle="",
        path=str(number),
        sha256="",
        box="",
        label=label,
        generator="sd" if label == "fake" else "",
        source="cifar100",
        group="",
        score=score,
        logit=score,
        threshold_ai=np.nan,
        threshold_real=np.nan,
        code="0",
        content=content,
    )


def test_reals_are_counted_by_class_and_by_super_class() -> None:
    contents = ["flowers/rose", "flowers/orchid", "trees/oak", "trees/oak"]
    rows = [row(i, content, 0.9 if "rose" in content else 0.1) for i, content in enumerate(contents * 5)]
    found = transfer_table({"cifar100": rows}, rounds=100)["cifar100"]
    assert {name: cells["real_accuracy"].value for name, cells in found.benchmark.contents.items()} == {
        "flowers/orchid": 1.0,
        "flowers/rose": 0.0,
        "trees/oak": 1.0,
    }
    flowers = found.super_classes["flowers"]["real_accuracy"]
    assert (flowers.value, flowers.n) == (0.5, 10)
    assert flowers.low < 0.5 < flowers.high
    assert "auroc" not in found.benchmark.metrics
    assert found.benchmark.metrics["real_accuracy"].value == 0.75


def test_a_set_that_names_no_super_class_has_none() -> None:
    rows = [row(i, "cat", 0.5, label=("real", "fake")[i % 2]) for i in range(10)]
    found = transfer_table({"set": rows}, rounds=100)["set"]
    assert found.super_classes == {}
    assert set(found.benchmark.contents) == {"cat"}
