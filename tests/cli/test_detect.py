from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import unquote_to_bytes

import PIL.Image
import pytest

from veridical.reports import Format

Run = Callable[..., CompletedProcess[str]]


def paths(ran: CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["path"] for line in ran.stdout.splitlines()]


def test_each_picture_gives_a_line_in_order_with_its_verdict(run: Run, bundle: Path, pictures: Path) -> None:
    ran = run("detect", pictures, "--detector", bundle)
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert [(Path(r["path"]).name, r["verdict"]) for r in results] == [
        ("black.png", "real"),
        ("grey.png", "unsure"),
        ("white.png", "ai"),
    ]
    assert all(r["model"]["name"] == "tiny" and len(r["sha256"]) == 64 and r["error"] is None for r in results)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_order_of_results_is_that_of_the_files_whatever_the_number_of_jobs(
    run: Run, bundle: Path, tmp_path: Path, jobs: str
) -> None:
    for number in range(20):
        PIL.Image.new("RGB", (400 - 18 * number, 64)).save(tmp_path / f"{number:02}.png")
    given = [tmp_path / f"{number:02}.png" for number in range(20)]
    ran = run("detect", *given, "--detector", bundle, "--jobs", jobs)
    assert paths(ran) == [str(path) for path in given]


def test_bytes_on_stdin_are_judged(run: Run, bundle: Path, pictures: Path) -> None:
    ran = run("detect", "-", "--detector", bundle, stdin=(pictures / "white.png").read_bytes())
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["verdict"] == "ai"


def test_a_folder_in_a_folder_is_judged_only_when_asked_for(run: Run, bundle: Path, pictures: Path) -> None:
    (pictures / "deep").mkdir()
    (pictures / "white.png").rename(pictures / "deep" / "white.png")
    assert len(paths(run("detect", pictures, "--detector", bundle))) == 2
    assert len(paths(run("detect", "-r", pictures, "--detector", bundle))) == 3


@pytest.mark.parametrize("format", Format)
def test_one_bad_file_never_stops_the_others_and_the_exit_code_is_2_in_every_format(
    run: Run, bundle: Path, pictures: Path, format: Format
) -> None:
    (pictures / "broken.png").write_bytes((pictures / "grey.png").read_bytes()[:40])
    ran = run("detect", pictures, pictures / "missing.png", "--detector", bundle, "--format", format.value)
    assert ran.returncode == 2
    assert "broken.png" in ran.stdout
    assert "missing.png" in ran.stdout
    assert "white.png" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_failed_files_say_why_and_keep_their_fields(run: Run, bundle: Path, pictures: Path) -> None:
    (pictures / "empty.png").write_bytes(b"")
    ran = run("detect", pictures / "empty.png", pictures / "missing.png", "--detector", bundle)
    first, second = map(json.loads, ran.stdout.splitlines())
    assert (first["verdict"], first["error"]["code"]) == ("error", "empty_file")
    assert (second["verdict"], second["error"]["code"]) == ("error", "not_found")
    assert first.keys() == second.keys()


@pytest.mark.parametrize("format", Format)
def test_fail_on_gives_1_in_every_format(run: Run, bundle: Path, pictures: Path, format: Format) -> None:
    arguments = ("detect", pictures, "--detector", bundle, "--format", format.value, "--fail-on")
    assert run(*arguments, "0.9").returncode == 1
    assert run(*arguments, "0.999").returncode == 0


def test_a_failed_file_wins_over_a_found_one(run: Run, bundle: Path, pictures: Path) -> None:
    (pictures / "empty.png").write_bytes(b"")
    assert run("detect", pictures, "--detector", bundle, "--fail-on", "0.5").returncode == 2


def test_a_threshold_replaces_the_models_own(run: Run, bundle: Path, pictures: Path) -> None:
    ran = run("detect", pictures / "grey.png", "--detector", bundle, "--threshold", "0.4")
    assert json.loads(ran.stdout)["verdict"] == "ai"
    assert json.loads(ran.stdout)["threshold"] == 0.4


@pytest.mark.parametrize("format", Format)
def test_an_unknown_detector_is_4_with_a_hint_in_every_format(run: Run, pictures: Path, format: Format) -> None:
    ran = run("detect", pictures, "--detector", "constnat", "--format", format.value)
    assert ran.returncode == 4
    assert ran.stdout == ""
    assert "Did you mean 'constant'?" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["detect"],
        ["detect", "x", "--nonsense"],
        ["detect", "x", "--format", "xml"],
        ["detect", "x", "--fail-on", "1.5"],
        ["detect", "x", "--threshold", "nan"],
        ["detect", "x", "--threshold", "high"],
        ["detect", "x", "--jobs", "0"],
        ["nonsense"],
        ["models", "nonsense"],
        [],
        ["models"],
    ],
)
def test_a_wrong_command_line_is_3_with_words_on_stderr_only(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.returncode == 3
    assert ran.stdout == ""
    assert ran.stderr.startswith(("error: ", "Usage: "))


@pytest.mark.parametrize("format", [["--format", "json"], ["--format=jsonl"]])
def test_errors_are_json_when_json_was_asked_for(run: Run, format: list[str]) -> None:
    for arguments, code in (
        (["x", "--jobs", "0"], "usage"),
        (["x", "--detector", "nonsense"], "unknown_model"),
    ):
        ran = run("detect", *arguments, *format)
        error = json.loads(ran.stderr)["error"]
        assert error["code"] == code
        assert error["hint"]


def test_the_format_follows_the_suffix_of_the_output(
    run: Run, bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    for suffix, start in {"html": "<!doctype html>", "json": "{", "csv": "path,verdict,", "md": "| "}.items():
        file = tmp_path / f"report.{suffix}"
        ran = run("detect", pictures, "--detector", bundle, "-o", file)
        assert (ran.returncode, ran.stdout) == (0, "")
        assert file.read_text().startswith(start)


def test_the_page_shows_every_picture(run: Run, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    run("detect", pictures, "--detector", bundle, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 3
    assert "It sees nothing but brightness." in page


def test_an_output_that_cannot_be_written_is_3(run: Run, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    ran = run("detect", pictures, "--detector", bundle, "-o", tmp_path / "no" / "folder.csv")
    assert ran.returncode == 3
    assert "folder.csv" in ran.stderr


def test_quiet_leaves_stderr_empty_even_when_files_fail(run: Run, bundle: Path, pictures: Path) -> None:
    assert run("detect", "missing.png", "--detector", bundle).stderr != ""
    assert run("detect", "missing.png", "--detector", bundle, "-q").stderr == ""


def test_the_share_of_each_verdict_is_told_with_its_interval(run: Run, bundle: Path, pictures: Path) -> None:
    white = pictures / "white.png"
    ran = run("detect", *[white] * 20, "--detector", bundle, "--format", "table")
    assert "Of 20 judged, 100.0 % probably AI-generated (83.9–100.0 %)" in ran.stderr
    assert "judged" not in run("detect", *[white] * 3, "--detector", bundle, "--format", "table").stderr


def test_a_name_that_is_not_utf8_comes_back_as_a_uri_that_finds_the_file(
    run: Run, bundle: Path, pictures: Path
) -> None:
    name = os.fsencode(pictures) + b"/caf\xe9.png"
    try:
        os.rename(os.fsencode(pictures / "white.png"), name)  # noqa: PTH104  Path has no bytes
    except OSError:
        pytest.skip("this file system keeps only UTF-8 names")
    for format in Format:
        assert run("detect", os.fsdecode(name), "--detector", bundle, "--format", format.value).returncode == 0
    [path] = paths(run("detect", os.fsdecode(name), "--detector", bundle))
    assert unquote_to_bytes(path.removeprefix("file://")) == name


def test_a_name_with_a_formula_and_an_escape_is_harmless_in_csv(
    run: Run, bundle: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = Path("=cmd|'\x1b[31m\n'.png")
    monkeypatch.chdir(pictures)
    (pictures / "white.png").rename(hostile)
    ran = run("detect", hostile, "--detector", bundle, "--format", "csv")
    [row] = csv.DictReader(io.StringIO(ran.stdout))
    assert row["path"] == r"'=cmd|'\x1b[31m\n'.png"


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("https://example.org/a.jpg", "url_not_supported"),
        ("nothing*.png", "no_matches"),
        ("@gone.txt", "not_found"),
    ],
)
def test_an_argument_that_leads_to_nothing_is_an_error_in_its_place(
    run: Run, bundle: Path, pictures: Path, argument: str, code: str
) -> None:
    ran = run("detect", argument, pictures / "white.png", "--detector", bundle)
    first, second = map(json.loads, ran.stdout.splitlines())
    assert ran.returncode == 2
    assert (first["path"], first["error"]["code"]) == (argument, code)
    assert second["verdict"] == "ai"
