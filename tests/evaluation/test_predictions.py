"""Predictions survive being stored, and tables are made from nothing else."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from veridical.data.samples import Sample, file_sha256, load_frames, read_samples
from veridical.detectors import load_detector
from veridical.errors import DataError
from veridical.evaluation import predictions
from veridical.evaluation.benchmark import per_generator, per_source, summarise
from veridical.evaluation.predictions import (
    Prediction,
    Unjudged,
    judge_sample,
    predict,
    read_predictions,
    write_predictions,
)
from veridical.results import Verdict

SUFFIXES = pytest.mark.parametrize("suffix", [".csv", ".parquet"])

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
    reals = [dataclasses.replace(ROW, label="real", generator="", score=s, logit=s) for s in scores_of_reals]
    fakes = [dataclasses.replace(ROW, score=s, logit=s) for s in scores_of_fakes]
    return [dataclasses.replace(row, **changes) for row in (*reals, *fakes)]  # type: ignore[arg-type] # floats


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("real/camera/1.png", "fake/sdxl/2.png", "fake/flux/3.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return tmp_path / "set"


@SUFFIXES
def test_what_is_written_is_read_again(folder: Path, tmp_path: Path, suffix: str) -> None:
    made = list(predict(load_detector("random"), read_samples(folder), code="0.1.0"))
    made.append(dataclasses.replace(ROW, path='odd, "name"\n.png', score=0.1 + 0.2, perturbation="jpeg_75"))
    assert [row.generator for row in made] == ["flux", "sdxl", "", "g"]
    path = tmp_path / f"p{suffix}"
    assert write_predictions(path, made) == 4
    assert read_predictions(path) == made
    assert sorted(tmp_path.iterdir()) == [path, folder]


@SUFFIXES
def test_equal_rows_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    for path in (one, other):
        write_predictions(path, rows([0.1, 0.2], [0.9]))
    assert one.read_bytes() == other.read_bytes()


@SUFFIXES
def test_a_detector_without_thresholds_is_stored_as_such(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    write_predictions(path, predict(load_detector("constant"), read_samples(folder), code="x"))
    assert all(math.isnan(row.threshold_ai) for row in read_predictions(path))
    assert {row.verdict for row in read_predictions(path)} == {Verdict.UNSURE}


def test_the_verdict_is_that_of_the_stored_thresholds() -> None:
    verdicts = [dataclasses.replace(ROW, score=score).verdict for score in (0.8, 0.5, 0.2)]
    assert verdicts == [Verdict.AI, Verdict.UNSURE, Verdict.REAL]


def test_a_gate_withholds_the_verdicts_that_are_its_own() -> None:
    verdicts = [
        dataclasses.replace(ROW, score=score, codes=codes).verdict
        for codes in ("heavy_compression", "heavy_compression flat_picture")
        for score in (0.8, 0.5, 0.2)
    ]
    assert verdicts == [Verdict.AI, *5 * [Verdict.UNSURE]]


def test_a_gate_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", [dataclasses.replace(ROW, codes="flat_picture no_such_code")])
    with pytest.raises(DataError, match="line 2: there is no code no_such_code"):
        read_predictions(tmp_path / "p.csv")


def test_a_row_names_the_bytes_it_is_about_where_the_set_does_not(folder: Path) -> None:
    samples = read_samples(folder)
    assert not any(sample.sha256 for sample in samples)
    made = list(predict(load_detector("random"), samples, code="x"))
    assert [row.sha256 for row in made] == [file_sha256(sample.path) for sample in samples]


def test_a_name_that_is_not_utf8_survives_csv_and_is_legible_in_parquet(tmp_path: Path) -> None:
    odd = dataclasses.replace(ROW, path="caf\udce9.png")
    for suffix, name in ((".csv", "caf\udce9.png"), (".parquet", "caf\\xe9.png")):
        write_predictions(tmp_path / f"p{suffix}", [odd])
        assert read_predictions(tmp_path / f"p{suffix}")[0].path == name


def test_a_picture_is_decoded_once_for_all_detectors_and_perturbations(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def load(sample: Sample) -> tuple[np.ndarray, ...]:
        decoded.append(sample.name)
        return load_frames(sample)

    monkeypatch.setattr(predictions, "load_frames", load)
    sample = read_samples(folder)[0]
    detectors = [load_detector("random"), load_detector("constant")]
    outcomes = list(judge_sample(sample, detectors, ["none", "jpeg_50", "blur_1"], code="x"))
    rows = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    assert [(row.perturbation, row.detector) for row in rows] == [
        (perturbation, detector)
        for perturbation in ("none", "jpeg_50", "blur_1")
        for detector in ("random", "constant")
    ]
    assert len({row.score for row in rows if row.detector == "random"}) == 3  # three different pictures
    assert decoded == [sample.name]


def test_what_a_perturbation_makes_too_small_is_named_with_its_detector(folder: Path) -> None:
    class Choosy(type(load_detector("random"))):  # type: ignore[misc] # the class is private to its plug-in
        name = "choosy"
        minimum = 36

    sample = read_samples(folder)[0]
    detectors = [Choosy(), load_detector("random")]
    clean, also_clean, small, halved = judge_sample(sample, detectors, ["none", "chain_delivery"], code="x")
    assert isinstance(clean, Prediction)
    assert isinstance(also_clean, Prediction)
    assert isinstance(halved, Prediction)
    assert isinstance(small, Unjudged)
    assert (small.detector, small.perturbation, small.error) == ("choosy", "chain_delivery", "too_small")
    assert "20 after chain_delivery" in small.message
    assert small.sha256 == halved.sha256


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


@pytest.mark.parametrize(
    ("column", "value"), [("score", "1.5"), ("score", "nan"), ("score", "high"), ("label", "maybe")]
)
def test_a_wrong_row_is_named_by_its_line(tmp_path: Path, column: str, value: str) -> None:
    write_predictions(tmp_path / "p.csv", [ROW, dataclasses.replace(ROW, **{column: value})])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="line 3") as caught:
        read_predictions(tmp_path / "p.csv")
    assert caught.value.code == "bad_predictions"


@pytest.mark.parametrize(("column", "value"), [("score", 1.5), ("label", "maybe"), ("path", None)])
def test_a_wrong_row_of_a_parquet_file_is_named_by_its_number(
    tmp_path: Path, column: str, value: object
) -> None:
    wrong = dataclasses.asdict(ROW) | {column: value}
    pq.write_table(pa.Table.from_pylist([dataclasses.asdict(ROW), wrong]), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 2") as caught:
        read_predictions(tmp_path / "p.parquet")
    assert caught.value.code == "bad_predictions"


def store(path: Path, columns: list[str]) -> None:
    """One row with those columns alone, in the format of the suffix."""
    row = {name: value for name, value in dataclasses.asdict(ROW).items() if name in columns}
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerow(row)


COLUMNS = [field.name for field in dataclasses.fields(Prediction)]


@SUFFIXES
def test_files_from_before_perturbation_and_content_are_read(tmp_path: Path, suffix: str) -> None:
    store(tmp_path / f"p{suffix}", [name for name in COLUMNS if name not in ("perturbation", "content")])
    assert read_predictions(tmp_path / f"p{suffix}") == [ROW]


@SUFFIXES
@pytest.mark.parametrize(
    "missing", [name for name in COLUMNS if name not in ("perturbation", "content", "codes", "parts")]
)
def test_a_missing_column_is_named(tmp_path: Path, suffix: str, missing: str) -> None:
    store(tmp_path / f"p{suffix}", [name for name in COLUMNS if name != missing])
    with pytest.raises(DataError, match=f"no column {missing}") as caught:
        read_predictions(tmp_path / f"p{suffix}")
    assert caught.value.code == "bad_predictions"


@pytest.mark.parametrize("change", [lambda line: line.rsplit(",", 2)[0], lambda line: line + ",more"])
def test_a_row_of_another_length_is_named(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, [ROW, ROW])
    *head, last = path.read_text().splitlines()
    path.write_text("\n".join([*head, change(last)]))
    with pytest.raises(DataError, match="line 3") as caught:
        read_predictions(path)
    assert caught.value.code == "bad_predictions"


@pytest.mark.parametrize("data", [b"", b"PAR1 or so", b"\x00\xff" * 50])
@SUFFIXES
def test_a_file_of_something_else_is_said_to_be_none(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"not a file of predictions") as caught:
        read_predictions(path)
    assert caught.value.code == "bad_predictions"


@SUFFIXES
def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_predictions(tmp_path / f"p{suffix}")
    assert caught.value.code == "not_found"


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
