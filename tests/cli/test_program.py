"""What only a real process shows: what it imports, pipes that close, Ctrl-C, and terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "veridical"]


def modules_after(*arguments: str | Path) -> set[str]:
    """The modules that are loaded when a command has run."""
    code = (
        "import sys; from veridical.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return set(ran.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"], ["--version"], ["models", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & {"numpy", "PIL", "onnxruntime", "rich", "jinja2", "msgspec", "torch"}


def test_judging_one_picture_imports_neither_torch_nor_what_its_format_does_not_need(
    bundle: Path, pictures: Path
) -> None:
    loaded = modules_after("detect", pictures / "white.png", "--detector", bundle, "-q")
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "rich", "jinja2", "concurrent.futures.thread"}


def test_a_reader_that_goes_away_ends_the_program_without_a_word(bundle: Path, pictures: Path) -> None:
    # More lines than a pipe holds, so that the program must still be writing when the reader goes.
    names = [str(pictures / "white.png")] * 200
    (pictures / "names.txt").write_text("\n".join(names))
    command = [*PROGRAM, "detect", f"@{pictures / 'names.txt'}", "--detector", str(bundle), "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["verdict"] == "ai"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_an_interrupt_leaves_valid_output_of_what_was_finished(bundle: Path, pictures: Path) -> None:
    # The second source is stdin, which stays open: the program is surely waiting when the signal comes.
    arguments = ["detect", str(pictures / "white.png"), "-", "--detector", str(bundle), "--format", "json"]
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        output = b""
        while b"white.png" not in output:
            output += os.read(process.stdout.fileno(), 65536)
        process.send_signal(signal.SIGINT)
        output += process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 130
    counted = {"files": 1, "ai": 1, "real": 0, "unsure": 0, "error": 0}
    assert json.loads(output)["summary"].items() >= counted.items()
    assert b"Traceback" not in errors


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_a_table(
    bundle: Path, pictures: Path, variables: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    subprocess.run(
        [*PROGRAM, "detect", pictures / "white.png", "--detector", bundle],
        stdout=theirs, stderr=subprocess.DEVNULL, env=environment, check=True,
    )  # fmt: skip
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert "Probably AI-generated" in text
    assert ("\x1b[" in text) is coloured


def test_progress_goes_to_a_terminal_and_data_stay_clean(bundle: Path, pictures: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "detect", str(pictures), "--detector", str(bundle)]
    environment = {**os.environ, "TERM": "xterm"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    assert "3 files:" in seen
    assert [json.loads(line)["verdict"] for line in ran.stdout.splitlines()] == ["real", "unsure", "ai"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_completes_our_program(shell: str) -> None:
    script = subprocess.run([*PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "_VERIDICAL_COMPLETE" in script
    environment = {
        **os.environ, "_VERIDICAL_COMPLETE": "bash_complete", "COMP_WORDS": "veridical de", "COMP_CWORD": "1",
    }  # fmt: skip
    words = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert words == ["plain,detect", "plain,detectors"]
