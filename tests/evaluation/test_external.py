"""Anyone's scores become predictions; what is wrong with a file is named by its line."""

import gzip
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from veridical.errors import DataError
from veridical.evaluation.benchmark import summarise
from veridical.evaluation.external import read_external
from veridical.results import Verdict


def write(folder: Path, text: str, name: str = "peer.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_label_and_a_score_are_enough(tmp_path: Path) -> None:
    read = read_external(write(tmp_path, "label,score\n1,0.9\n0,0.2\nfake,1\nReal,0\n"))
    assert [(p.label, p.score) for p in read.predictions] == [
        ("fake", 0.9),
        ("real", 0.2),
        ("fake", 1),
        ("real", 0),
    ]
    assert {p.detector for p in read.predictions} == {"peer"}
    assert len({p.path for p in read.predictions}) == 4
    assert all(math.isfinite(p.logit) for p in read.predictions)
    # Without a threshold of theirs the verdict is the score at 0.5, and never unsure.
    assert [p.verdict for p in read.predictions] == [Verdict.AI, Verdict.REAL, Verdict.AI, Verdict.REAL]


def test_columns_are_found_under_the_names_that_people_give_them(tmp_path: Path) -> None:
    names = "Filename,Y_True,P_Fake,Generator,Source,Publisher,Modality,SHA256,threshold"
    (row,) = read_external(write(tmp_path, f"{names}\na.jpg,1,0.4,sdxl,web,p,faces,AB,0.3\n")).predictions
    assert (row.path, row.label, row.score, row.generator) == ("a.jpg", "fake", 0.4, "sdxl")
    assert (row.source, row.group, row.content, row.sha256) == ("web", "p", "faces", "ab")
    assert row.verdict is Verdict.AI


def test_a_real_without_a_source_comes_from_where_its_generator_says(tmp_path: Path) -> None:
    text = "label,score,generator\nreal,0.1,coco\nfake,0.9,\nreal,0.2,\n"
    rows = read_external(write(tmp_path, text)).predictions
    assert [(p.generator, p.source) for p in rows] == [("", "coco"), ("unnamed", "unnamed"), ("", "unnamed")]


def test_a_wide_file_has_a_detector_in_each_column_of_scores(tmp_path: Path) -> None:
    path = write(tmp_path, "id,label,prob_npr,effort_score,lat_npr\nx,1,0.9,0.8,36\ny,0,0.1,0.3,40\n")
    found = {(p.detector, p.path): p.score for p in read_external(path).predictions}
    assert found == {("npr", "x"): 0.9, ("npr", "y"): 0.1, ("effort", "x"): 0.8, ("effort", "y"): 0.3}
    chosen = read_external(path, score_columns=["Effort_Score"]).predictions
    assert [(p.detector, p.score) for p in chosen] == [("effort", 0.8), ("effort", 0.3)]
    with pytest.raises(DataError, match="Did you mean 'prob_npr'"):
        read_external(path, score_columns=["prob_nrp"])


def test_a_long_file_names_its_detectors(tmp_path: Path) -> None:
    path = write(tmp_path, "id,label,score,detector\nx,1,0.9,a\nx,1,0.8,b\n")
    assert [p.detector for p in read_external(path).predictions] == ["a", "b"]


def test_a_verdict_of_theirs_counts_for_more_than_the_score_that_is_told(tmp_path: Path) -> None:
    cells = "1,0.5,fake\n1,0.5,real\n0,0.5,undetermined\n0,0.0,real\n1,1.0,AI\n0,1.0,real\n"
    rows = read_external(write(tmp_path, f"label,a_score,a_verdict\n{cells}")).predictions
    said = [Verdict.AI, Verdict.REAL, Verdict.UNSURE, Verdict.REAL, Verdict.AI, Verdict.REAL]
    assert [p.verdict for p in rows] == said
    rates = summarise(rows, rounds=100)
    assert [rates[name].value for name in ("tpr", "fpr", "unsure")] == pytest.approx([2 / 3, 0, 1 / 6])


def test_missing_scores_are_counted_and_left_out_or_count_as_abstentions(tmp_path: Path) -> None:
    path = write(tmp_path, "label,prob_a,prob_b\n1,,0.9\n0,,0.1\n0,0.2,0.2\n")
    read = read_external(path)
    assert read.missing == {"a": {"real": 1, "fake": 1}}
    assert [p.score for p in read.predictions if p.detector == "a"] == [0.2]
    told = read_external(path, missing_is_abstention=True)
    assert told.missing == read.missing
    abstained = [p for p in told.predictions if p.detector == "a"]
    assert [p.score for p in abstained] == [0.5, 0.5, 0.2]
    assert [p.verdict for p in abstained] == [Verdict.UNSURE, Verdict.UNSURE, Verdict.REAL]


def test_parquet_and_zipped_files_are_read_as_csv_is(tmp_path: Path) -> None:
    text = "label,score,id\n1,0.25,x\n0,,y\n"
    plain = write(tmp_path, text)
    with gzip.open(tmp_path / "peer.csv.gz", "wt") as file:
        file.write(text)
    columns = {"label": [1, 0], "score": [0.25, None], "id": ["x", "y"]}
    pq.write_table(pa.table(columns), tmp_path / "peer.parquet")
    first, *others = (
        read_external(path) for path in (plain, tmp_path / "peer.csv.gz", tmp_path / "peer.parquet")
    )
    for other in others:
        assert other.missing == first.missing
        assert [(p.label, p.score, p.path, p.detector) for p in other.predictions] == [
            ("fake", 0.25, "x", "peer")
        ]


@pytest.mark.parametrize("cell", ["1.5", "-0.1", "nan", "NaN", "inf", "high"])
def test_a_score_that_is_no_probability_is_named_by_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=rf"line 3: score is '{cell}'"):
        read_external(write(tmp_path, f"label,score\n1,0.9\n0,{cell}\n"))


def test_nan_in_parquet_is_an_error_and_no_missing_score(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1, 0], "score": [0.5, math.nan]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 2: score is 'nan'"):
        read_external(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,score\n2,0.5\n", "line 2: the label is '2'"),
        ("label,score\n1\n", "line 2: not as many cells"),
        ("label,score\n1,0.5,7\n", "line 2: not as many cells"),
        ("label,score\n", "holds no row"),
        ("label,score\n1,\n", "holds no score"),
        ("score\n0.5\n", "no column of labels"),
        ("label,guess\n1,0.5\n", "no column of scores"),
        ("label,score,threshold\n1,0.5,7\n", "line 2: threshold is '7'"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_external(write(tmp_path, text))


@pytest.mark.parametrize("name", ["peer.csv", "peer.csv.gz", "peer.parquet"])
def test_what_is_no_table_or_not_there_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_external(tmp_path / name)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01 no table")
    with pytest.raises(DataError):
        read_external(tmp_path / name)
