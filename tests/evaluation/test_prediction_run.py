"""A run of predictions goes on where it stopped, loses nothing, repeats nothing, and hides nothing."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import read_samples
from veridical.detectors import load_detector
from veridical.errors import DataError, UsageError
from veridical.evaluation.prediction_run import PredictionRun
from veridical.evaluation.predictions import read_predictions


@pytest.fixture
def run(tmp_path: Path) -> PredictionRun:
    """Four samples, two detectors, three perturbations."""
    for index in range(4):
        name = "real/camera" if index % 2 else "fake/sdxl"
        path = tmp_path / "set" / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return PredictionRun(
        output=tmp_path / "p.parquet",
        detectors=[load_detector("random"), load_detector("constant")],
        samples=read_samples(tmp_path / "set"),
        perturbations=["none", "jpeg_75", "noise_0.1"],
        code="0.1.0",
    )


class Stop(Exception):
    """Ends a run in its middle, after the given number of samples."""


def stop_after(count: int, run: PredictionRun) -> None:
    def on_progress(done: int) -> None:
        if done == count:
            raise Stop

    with pytest.raises(Stop):
        run.finish(on_progress)


def finish(run: PredictionRun) -> list[int]:
    """Finish it; what it said of its progress."""
    progress: list[int] = []
    run.finish(progress.append)
    return progress


def unbroken(run: PredictionRun) -> bytes:
    other = dataclasses.replace(run, output=run.output.with_name("unbroken.parquet"))
    finish(other)
    return other.output.read_bytes()


def break_picture(run: PredictionRun, index: int) -> Path:
    path = run.samples[index].path
    path.write_bytes(b"not a picture")
    return path


def test_a_finished_run_leaves_one_row_for_each_and_no_journal(run: PredictionRun) -> None:
    assert run.finish(lambda done: None) == (4 * 2 * 3, [])
    rows = read_predictions(run.output)
    assert len({(row.path, row.detector, row.perturbation) for row in rows}) == len(rows) == 24
    assert not run.journal_path.exists()
    assert not run.unjudged_path.exists()


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(run: PredictionRun, count: int) -> None:
    stop_after(count, run)
    assert not run.output.exists()
    assert finish(run)[0] == count
    assert run.output.read_bytes() == unbroken(run)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_half_written_line_counts_for_nothing(run: PredictionRun, kept: float) -> None:
    stop_after(2, run)
    *head, last = run.journal_path.read_bytes().splitlines(keepends=True)
    run.journal_path.write_bytes(b"".join(head) + last[: int(len(last) * kept)])
    assert finish(run)[0] == 1
    assert run.output.read_bytes() == unbroken(run)


def test_a_run_killed_in_its_first_line_starts_anew(run: PredictionRun) -> None:
    for beginning in (b"", b'{"detectors": [["ran'):
        run.journal_path.write_bytes(beginning)
        assert finish(run)[0] == 0
        assert run.output.read_bytes() == unbroken(run)


def test_a_journal_of_another_run_is_refused_and_kept(run: PredictionRun) -> None:
    stop_after(2, run)
    kept = run.journal_path.read_bytes()
    others = {
        "detectors": dataclasses.replace(run, detectors=run.detectors[:1]),
        "perturbations": dataclasses.replace(run, perturbations=["none"]),
        "data": dataclasses.replace(run, samples=run.samples[::-1]),
        "code": dataclasses.replace(run, code="0.2.0"),
    }
    for what, other in others.items():
        with pytest.raises(UsageError, match=f"other {what}"):
            finish(other)
        assert run.journal_path.read_bytes() == kept


@pytest.mark.parametrize("bundle", ["", "another"])
def test_rows_of_another_bundle_of_that_name_are_refused(run: PredictionRun, bundle: str) -> None:
    stop_after(2, run)

    class Other(type(run.detectors[0])):  # type: ignore[misc] # the class is private to its plug-in
        sha256 = bundle

    with pytest.raises(UsageError, match="other detectors"):
        finish(dataclasses.replace(run, detectors=[Other(), run.detectors[1]]))


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b"[1, 2]\n", b"\x00\xff\n"])
def test_a_damaged_journal_is_refused_with_its_line(run: PredictionRun, line: bytes) -> None:
    stop_after(2, run)
    head, first, second = run.journal_path.read_bytes().splitlines(keepends=True)
    for lines, number in (((line, first, second), 1), ((head, line, second), 2), ((head, second, first), 2)):
        run.journal_path.write_bytes(b"".join(lines))
        with pytest.raises((DataError, UsageError)) as caught:
            finish(run)
        assert isinstance(caught.value, UsageError) or f"line {number}" in str(caught.value)


def test_an_unreadable_sample_stops_the_run_which_goes_on_once_it_is_repaired(run: PredictionRun) -> None:
    original = run.samples[2].path.read_bytes()
    path = break_picture(run, 2)
    with pytest.raises(DataError, match=path.name) as caught:
        finish(run)
    assert caught.value.code == "unreadable_sample"
    assert not run.output.exists()
    path.write_bytes(original)
    assert finish(run)[0] == 2
    assert run.output.read_bytes() == unbroken(run)


def test_an_allowed_unreadable_sample_is_listed_beside_the_rest(run: PredictionRun) -> None:
    path = break_picture(run, 1)
    lenient = dataclasses.replace(run, allow_unreadable=True)
    count, unjudged = lenient.finish(lambda done: None)
    assert count == 3 * 2 * 3
    assert [row.path for row in unjudged] == [str(path)]
    with run.unjudged_path.open(newline="") as file:
        (listed,) = csv.DictReader(file)
    assert listed["path"] == str(path)
    assert listed["label"] == unjudged[0].label
    assert listed["error"] == "unreadable_sample"
    assert str(path) not in {row.path for row in read_predictions(run.output)}


def test_a_file_that_is_gone_is_unreadable_like_a_broken_one(run: PredictionRun) -> None:
    run.samples[0].path.unlink()
    _, (missing,) = dataclasses.replace(run, allow_unreadable=True).finish(lambda done: None)
    assert missing.path == str(run.samples[0].path)


def test_what_was_allowed_once_is_not_allowed_for_ever(run: PredictionRun) -> None:
    path = break_picture(run, 0)
    stop_after(2, dataclasses.replace(run, allow_unreadable=True))
    with pytest.raises(DataError, match=path.name):
        finish(run)


def test_a_run_without_failures_takes_the_old_list_away(run: PredictionRun) -> None:
    original = run.samples[0].path.read_bytes()
    path = break_picture(run, 0)
    finish(dataclasses.replace(run, allow_unreadable=True))
    assert run.unjudged_path.exists()
    path.write_bytes(original)
    finish(run)
    assert not run.unjudged_path.exists()


def test_a_folder_that_is_not_there_is_a_usage_error(run: PredictionRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot write"):
        finish(dataclasses.replace(run, output=tmp_path / "nowhere" / "p.csv"))
