"""Predictions survive being stored, and tables are made from nothing else."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import read_samples
from veridical.detectors import load_detector
from veridical.errors import DataError
from veridical.evaluation.benchmark import per_generator, per_source, summarise
from veridical.evaluation.predictions import Prediction, predict, read_predictions, write_predictions

ROW = Prediction(
    detector="d",
    bundle="b",
    path="a.png",
    sha256="0",
    box="",
    label="fake",
    generator="g",
    source="s",
    group="p",
    score=0.5,
    logit=0.0,
    threshold_ai=0.8,
    threshold_real=0.2,
    code="0.1.0",
)


def rows(scores_of_reals: list[float], scores_of_fakes: list[float], **changes: float) -> list[Prediction]:
    reals = [dataclasses.replace(ROW, label="real", generator="", score=s) for s in scores_of_reals]
    fakes = [dataclasses.replace(ROW, score=s) for s in scores_of_fakes]
    return [dataclasses.replace(row, **changes) for row in (*reals, *fakes)]  # type: ignore[arg-type] # floats


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("real/camera/1.png", "fake/sdxl/2.png", "fake/flux/3.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return tmp_path / "set"


def test_what_is_written_is_read_again(folder: Path, tmp_path: Path) -> None:
    made = list(predict(load_detector("random"), read_samples(folder), code="0.1.0"))
    assert [row.generator for row in made] == ["flux", "sdxl", ""]
    assert write_predictions(tmp_path / "p.csv", made) == 3
    assert read_predictions(tmp_path / "p.csv") == made


def test_a_detector_without_thresholds_is_stored_as_such(folder: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", predict(load_detector("constant"), read_samples(folder), code="x"))
    assert all(math.isnan(row.threshold_ai) for row in read_predictions(tmp_path / "p.csv"))


def test_a_sample_that_cannot_be_read_stops_and_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    (folder / "real" / "camera" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        write_predictions(tmp_path / "p.csv", predict(load_detector("random"), read_samples(folder), code="x"))
    assert not (tmp_path / "p.csv").exists()


def test_a_sample_too_small_to_judge_stops_with_its_path(folder: Path) -> None:
    PIL.Image.new("RGB", (32, 32)).save(folder / "real" / "camera" / "small.png")

    class Choosy(type(load_detector("random"))):  # type: ignore[misc] # the class is private to its plug-in
        minimum = 36

    with pytest.raises(DataError, match=r"small\.png is smaller"):
        list(predict(Choosy(), read_samples(folder), code="x"))


@pytest.mark.parametrize(("column", "value"), [("score", "1.5"), ("score", "high"), ("label", "maybe")])
def test_a_wrong_row_is_named_by_its_line(tmp_path: Path, column: str, value: str) -> None:
    write_predictions(tmp_path / "p.csv", [ROW, dataclasses.replace(ROW, **{column: value})])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="line 3"):
        read_predictions(tmp_path / "p.csv")


def test_rates_are_those_of_the_verdicts() -> None:
    table = summarise(rows([0.1, 0.2, 0.5, 0.9], [0.1, 0.7, 0.8, 0.95]), rounds=50)
    assert (table["fpr"].value, table["reals_called_real"].value) == (0.25, 0.5)
    assert (table["tpr"].value, table["fakes_called_real"].value) == (0.5, 0.25)
    assert table["unsure"].value == 0.25
    assert (table["fpr"].n, table["tpr"].n, table["unsure"].n) == (4, 4, 8)


def test_without_thresholds_everything_is_unsure() -> None:
    made = rows([0.0, 1.0], [0.0, 1.0], threshold_ai=math.nan, threshold_real=math.nan)
    assert summarise(made, rounds=50)["unsure"].value == 1.0


def test_reals_alone_have_rates_but_no_ranking() -> None:
    table = summarise(rows([0.1, 0.9], []), rounds=50)
    assert "auroc" not in table
    assert table["fpr"].value == 0.5
    assert math.isnan(table["tpr"].value)


def test_each_generator_meets_all_the_reals() -> None:
    made = rows([0.1, 0.2, 0.3], [0.9, 0.15])
    made[-1] = dataclasses.replace(made[-1], generator="hard")
    table = per_generator(made, rounds=50)
    assert table["g"]["auroc"].value == 1.0
    assert table["hard"]["auroc"].value == pytest.approx(1 / 3)
    assert table["hard"]["auroc"].n == 1
    assert per_source(made)["s"]["fpr"].n == 3
