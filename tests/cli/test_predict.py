"""`predict` as a process: killed, run again, on a terminal, on damaged and on small pictures."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.data.perturbations import NAMED
from veridical.evaluation.predictions import read_predictions

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(12):
        name = "real/camera" if index % 2 else "fake/sdxl"
        path = tmp_path / "set" / name / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return tmp_path / "set"


def command(data: Path, output: Path) -> list[str]:
    words = ["predict", "random", "constant", "--data", str(data), "--perturbation", "all", "-o", str(output)]
    return [sys.executable, "-m", "veridical", *words]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(path: Path, least: int, process: subprocess.Popen[bytes]) -> None:
    while lines_of(path) < least:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_killed_run_goes_on_and_ends_with_the_bytes_of_an_unbroken_one(
    run: Run, data: Path, tmp_path: Path, suffix: str
) -> None:
    output, unbroken = tmp_path / f"p{suffix}", tmp_path / f"unbroken{suffix}"
    journal = output.with_name(output.name + ".journal")
    for least in (3, 6):  # the first line says what the run does
        process = subprocess.Popen(command(data, output))
        wait_for_lines(journal, least, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not output.exists()
    assert run(*command(data, output)[3:]).returncode == 0
    assert run(*command(data, unbroken)[3:]).returncode == 0
    assert output.read_bytes() == unbroken.read_bytes()
    rows = read_predictions(output)
    assert len({(row.path, row.detector, row.perturbation) for row in rows}) == len(rows) == 12 * 2 * len(NAMED)
    assert not journal.exists()


def test_an_unreadable_sample_is_named_and_counted_only_if_allowed(
    run: Run, data: Path, tmp_path: Path
) -> None:
    (data / "real" / "camera" / "broken.png").write_bytes(b"not a picture")
    arguments = ("predict", "random", "--data", data, "-o", tmp_path / "p.csv")
    stopped = run(*arguments)
    assert stopped.returncode == 3
    assert "broken.png" in stopped.stderr
    assert not (tmp_path / "p.csv").exists()
    allowed = run(*arguments, "--allow-unreadable")
    assert allowed.returncode == 0
    assert "12 predictions" in allowed.stderr
    assert "not judged: 1 real;" in allowed.stderr
    assert "broken.png" in (tmp_path / "p.csv.unjudged.csv").read_text()


def test_what_becomes_too_small_for_a_detector_is_listed(
    run: Run, bundle: Path, data: Path, tmp_path: Path
) -> None:
    small = data / "fake" / "sdxl" / "small.png"
    PIL.Image.new("RGB", (50, 50)).save(small)
    arguments = (
        "predict",
        bundle,
        "--data",
        data,
        "-o",
        tmp_path / "p.csv",
        "--perturbation",
        "chain_delivery",
    )
    stopped = run(*arguments)
    assert stopped.returncode == 3
    assert (
        "small.png is smaller than the 32 pixels that tiny needs: it has 25 after chain_delivery"
        in stopped.stderr
    )
    allowed = run(*arguments, "--allow-unreadable")
    assert "not judged: 1 fake;" in allowed.stderr
    rows = [row for row in read_predictions(tmp_path / "p.csv") if row.path == str(small)]
    assert [row.perturbation for row in rows] == ["none"]


def test_a_terminal_sees_progress_and_a_pipe_does_not(data: Path, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    subprocess.run(command(data, tmp_path / "p.csv"), stderr=terminal, env=environment, check=True)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(screen, 4096):
            shown += piece
    except OSError:  # how Linux ends a terminal that nobody writes to
        pass
    os.close(screen)
    assert b"Judging" in shown
    piped = subprocess.run(command(data, tmp_path / "q.csv"), stderr=subprocess.PIPE, check=True)
    assert piped.stderr.decode().splitlines() == [f"{12 * 2 * len(NAMED)} predictions in {tmp_path / 'q.csv'}"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("random", "--perturbation", "jpg_75", "-o", "p.csv"), "Did you mean 'jpeg_75'?"),
        (("random", "-o", "p.txt"), "neither in .parquet nor in .csv"),
        (("random", "random", "-o", "p.csv"), "Two of the detectors are called 'random'"),
        (("random", "-o", "nowhere/p.csv"), "Cannot write"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(
    run: Run,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("predict", *arguments, "--data", data)
    assert done.returncode == 3
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == [data]
