"""Judging pictures opens no socket, asks no name server and writes nothing outside our own folders.

Watched by strace for the half minute that fifty large pictures take: what a library does in its own threads is
seen too. ONNX Runtime, for one, looks up a host and writes a device id unless it is told not to; the control
shows that this test would have caught it.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.models.store import SHIPPED

PICTURES = 50
# Of a netlink or internet socket; pipes and socket pairs stay on the machine.
_NETWORK = re.compile(r"(socket\(AF_(?!UNIX)\w+|connect\(|sendto\(|sendmsg\(|sendmmsg\()")
_WRITTEN = re.compile(r'(?:openat\([^"]*|mkdir(?:at)?\([^"]*|rename(?:at2?)?\([^"]*)"(?P<path>[^"]+)".*')


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: apt-get install strace")
    watched = subprocess.run([found, "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    if watched.returncode:
        pytest.skip("this machine does not let a process be watched (ptrace)")
    return found


def watch(strace: str, folder: Path, *command: str) -> list[str]:
    """The system calls of a command and of all its threads and children that touch network or create files."""
    home = folder / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }  # without CI, in which ONNX Runtime keeps quiet by itself
    (folder / "tmp").mkdir()
    log = folder / "calls.txt"
    calls = "trace=network,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink"
    subprocess.run(
        [strace, "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(log), *command],
        env=environment,
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=300,
    )
    return log.read_text(errors="replace").splitlines()


def created(lines: list[str]) -> list[str]:
    """Files and folders that were created, renamed or opened for writing."""
    found = []
    for line in lines:
        match = _WRITTEN.search(line)
        if match and ("mkdir" in line or "rename" in line or re.search(r"O_CREAT|O_WRONLY|O_RDWR", line)):
            found.append(match["path"])
    return [path for path in found if path != os.devnull]


def test_fifty_pictures_are_judged_without_a_word_to_anyone(
    strace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (2100, 2100, 3), np.uint8)
    PIL.Image.fromarray(noise).save(held, "JPEG", quality=90)
    for number in range(PICTURES):  # each with a comment of its own, so that no two are the same file
        comment = b"\xff\xfe\x00\x04" + number.to_bytes(2)
        (pictures / f"{number}.jpg").write_bytes(held.getvalue()[:2] + comment + held.getvalue()[2:])
    output = tmp_path / "verdicts.jsonl"
    lines = watch(
        strace, tmp_path, sys.executable, "-m", "veridical", "detect", str(pictures), "-r", "-o", str(output)
    )
    assert len(output.read_text().splitlines()) == PICTURES
    talked = [line for line in lines if _NETWORK.search(line)]
    written = created(lines)
    with capsys.disabled():
        counts = Counter(re.sub(r"^\d+ +", "", line).partition("(")[0] for line in lines)
        print(f"\nwatched {dict(counts)}; network: {talked}; written: {sorted(set(written))}")
    assert talked == []
    assert not [line for line in lines if "deviceid" in line]
    assert {Path(path).parent for path in written} <= {tmp_path}
    assert all(output.name in path for path in written)


def test_the_same_watch_catches_a_library_that_is_not_told(strace: str, tmp_path: Path) -> None:
    graph = SHIPPED / "npr_shared" / "model.onnx"
    program = f"import onnxruntime; onnxruntime.InferenceSession({str(graph)!r})"
    lines = watch(strace, tmp_path, sys.executable, "-c", program)
    if not any("deviceid" in line for line in lines):
        pytest.skip("this ONNX Runtime writes no device id, told or not")
    assert created(lines)
