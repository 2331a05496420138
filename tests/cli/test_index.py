from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

Run = Callable[..., CompletedProcess[str]]


def picture(seed: int) -> PIL.Image.Image:
    """Soft blobs of colour, with the detail and the correlation of a photograph."""
    blobs = np.random.default_rng(seed).integers(0, 256, (11, 13, 3), np.uint8)
    return PIL.Image.fromarray(blobs).resize((400, 300), PIL.Image.Resampling.BICUBIC)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERIDICAL_INDEX", raising=False)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A data set with two reals and a fake."""
    folder = tmp_path / "labelled"
    for seed, name in enumerate(["real/album/a.png", "real/album/b.png", "fake/sd1.5/c.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(folder / name)
    return folder


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Of a known real, of the known fake, half the size and saved at quality 75; and a stranger."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for seed, name in {0: "real.jpg", 2: "fake.jpg", 9: "stranger.jpg"}.items():
        picture(seed).resize((200, 150)).save(folder / name, quality=75)
    return folder


def answers(ran: CompletedProcess[str]) -> dict[str, str]:
    return {Path(each["path"]).name: each["answer"] for each in json.loads(ran.stdout)["pictures"]}


EXPECTED = {"real.jpg": "known real", "fake.jpg": "known AI", "stranger.jpg": "unknown"}


def test_resaved_and_resized_copies_are_found_and_a_stranger_is_not(
    run: Run, labelled: Path, copies: Path
) -> None:
    ran = run("index", "build", labelled, "--no-pdq")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "3 known pictures" in ran.stderr
    assert answers(run("index", "query", copies, "--format", "json")) == EXPECTED
    table = run("index", "query", copies).stdout
    assert "known real" in table
    assert "a.png" in table


def test_the_detector_gives_the_verdict_and_names_what_it_matched(
    run: Run, labelled: Path, copies: Path
) -> None:
    run("index", "build", labelled, "--no-pdq")
    ran = run("detect", copies, "--detector", "retrieval", "--format", "jsonl")
    reports = {Path(r["path"]).name: r for r in map(json.loads, ran.stdout.splitlines())}
    verdicts = {name: report["verdict"] for name, report in reports.items()}
    assert verdicts == {"real.jpg": "real", "fake.jpg": "ai", "stranger.jpg": "unsure"}
    assert any("c.png" in sentence and "'sd1.5'" in sentence for sentence in reports["fake.jpg"]["evidence"])


def test_with_pdq_both_hashes_are_kept_and_compared(run: Run, labelled: Path, copies: Path) -> None:
    pytest.importorskip("pdqhash")
    run("index", "build", labelled)
    assert json.loads(run("index", "info", "--format", "json").stdout)["has_pdq"]
    ran = run("index", "query", copies, "--format", "json")
    assert answers(ran) == EXPECTED
    matches = {Path(each["path"]).name: each["matches"] for each in json.loads(ran.stdout)["pictures"]}
    assert matches["real.jpg"][0]["pdq_distance"] <= 31


def test_without_an_index_detect_says_how_to_make_one(run: Run, copies: Path) -> None:
    ran = run("detect", copies, "--detector", "retrieval")
    assert ran.returncode == 4
    assert "veridical index build" in ran.stderr
    assert "missing_index" in run("index", "info", "--format", "json").stderr


def test_lists_folders_and_single_pictures_are_added_under_a_label(
    run: Run, labelled: Path, copies: Path, tmp_path: Path
) -> None:
    (tmp_path / "lfw.dhash.txt").write_text("f0ce13836b43c666\n4f9793939b163723\n")
    run("index", "build", "--label", "real", tmp_path / "lfw.dhash.txt", "--index", "press")
    added = run("index", "add", "--no-pdq", "--label", "fake", labelled / "fake", "--index", "press")
    assert "3 known pictures" in added.stderr
    again = run("index", "add", "--no-pdq", "--label", "fake", labelled / "fake", "--index", "press")
    assert "3 known pictures" in again.stderr
    info = json.loads(run("index", "info", "--index", "press", "--format", "json").stdout)
    assert info["sources"] == [
        {"label": "real", "source": "lfw", "entries": 2},
        {"label": "fake", "source": "fake", "entries": 1},
    ]
    found = answers(run("index", "query", copies, "--index", "press", "--format", "json"))
    assert found == EXPECTED | {"real.jpg": "unknown"}


def test_merging_brings_indexes_together(run: Run, labelled: Path, copies: Path, tmp_path: Path) -> None:
    run("index", "build", "--no-pdq", "--label", "real", labelled / "real", "--index", "reals")
    run("index", "build", "--no-pdq", "--label", "fake", labelled / "fake", "--index", tmp_path / "fakes.index")
    ran = run("index", "merge", "reals", tmp_path / "fakes.index", "--index", "all")
    assert "3 known pictures" in ran.stderr
    assert answers(run("index", "query", copies, "--index", "all", "--format", "json")) == EXPECTED


def test_an_index_is_not_replaced_by_mistake(run: Run, labelled: Path) -> None:
    run("index", "build", "--no-pdq", labelled)
    ran = run("index", "build", "--no-pdq", labelled / "real", "--label", "real")
    assert ran.returncode == 3
    assert "index add" in ran.stderr
    replaced = run("index", "build", "--no-pdq", labelled / "real", "--label", "real", "--replace")
    assert "2 known pictures" in replaced.stderr


def test_a_picture_that_cannot_be_read_stops_the_build_and_is_named(run: Run, labelled: Path) -> None:
    (labelled / "real" / "album" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for arguments in ([labelled], ["--label", "real", labelled]):
        ran = run("index", "build", "--no-pdq", *arguments)
        assert ran.returncode == 3
        assert "broken.png" in ran.stderr
    assert run("index", "info").returncode == 4  # nothing was written
