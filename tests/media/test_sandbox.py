"""The fence holds: hostile code inside it can waste its own time and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from veridical.errors import MediaError
from veridical.media import DEFAULT_LIMITS, Limits
from veridical.media.sandbox import decode_fenced, run_fenced

HOSTILE = '''
import ctypes, os, socket, sys, time

def load(options):
    pass

def run(data, options):
    return globals()[options["action"]](), ()

def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"

def look_around():
    """What each attempt to get out comes to."""
    status = open  # bound before: the name lookup must not be what fails
    return {
        "read": attempt(lambda: status("/etc/passwd")),
        "write": attempt(lambda: status("left_behind", "w")),
        "socket": attempt(lambda: socket.socket()),
        "local_socket": attempt(lambda: socket.socket(socket.AF_UNIX)),
        "pipe": attempt(os.pipe),
        "run": attempt(lambda: os.posix_spawn("/bin/true", ["true"], {}) and status("/proc/self/fd/0")),
        "list": attempt(lambda: os.listdir(".")),
        "directory": os.getcwd(),
        "environment": sorted(os.environ),
        "no_new_privileges": ctypes.CDLL(None).prctl(39, 0, 0, 0, 0),
    }

def burn():
    while True:
        pass

def sleep():
    time.sleep(60)

def hoard():
    return {"size": len(bytearray(3 << 30))}

def crash():
    ctypes.string_at(0)

def abort():
    os.abort()

def leave():
    os._exit(0)

def be_killed():
    os.kill(os.getpid(), 9)

def babble():
    os.write(1, b"this is no JSON\\n" * 100000)
    os._exit(0)

def claim_much():
    os.write(1, b'{"bytes": 99999999999}\\n')
    os._exit(0)
'''


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that the child can import, and whose actions it runs inside the fence."""
    (tmp_path / "hostile_decoder.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(tmp_path)
    return "hostile_decoder"


def code_of(module: str, action: str, limits: Limits = DEFAULT_LIMITS) -> str:
    with pytest.raises(MediaError) as caught:
        run_fenced(module, b"", {"action": action}, limits)
    return caught.value.code


def test_inside_the_fence_no_file_socket_or_pipe_can_be_opened(hostile: str) -> None:
    seen = run_fenced(hostile, b"", {"action": "look_around"}, DEFAULT_LIMITS).header
    for action in ("read", "write", "socket", "local_socket", "pipe", "run", "list"):
        assert seen[action] == "OSError", action
    assert seen["no_new_privileges"] == 1
    assert not Path(str(seen["directory"])).exists(), "the child's directory is its own and is removed"
    assert "HOME" not in str(seen["environment"])


def test_burning_cpu_time_ends_in_decode_timeout(hostile: str) -> None:
    assert code_of(hostile, "burn", Limits(child_cpu_seconds=1)) == "decode_timeout"


def test_waiting_ends_in_decode_timeout(hostile: str) -> None:
    assert code_of(hostile, "sleep", Limits(child_wall_seconds=1.0)) == "decode_timeout"


def test_hoarding_memory_fails_inside_the_child_alone(hostile: str) -> None:
    assert code_of(hostile, "hoard") == "decode_oom"


@pytest.mark.parametrize("action", ["crash", "abort", "leave", "babble", "claim_much"])
def test_a_child_that_dies_or_talks_nonsense_is_decode_crashed(hostile: str, action: str) -> None:
    assert code_of(hostile, action) == "decode_crashed"


def test_a_child_killed_by_the_system_is_decode_oom(hostile: str) -> None:
    assert code_of(hostile, "be_killed") == "decode_oom"


def test_a_decoder_that_wants_more_address_space_than_allowed_is_decode_oom() -> None:
    """A TIFF of 49 Mpx, which needs 200 MB and more, in a child that may have little beyond its imports."""
    data = tiff_of_zeros(7000, 7000)
    with pytest.raises(MediaError) as caught:
        decode_fenced(data, "tiff", Limits(child_address_bytes=450 * 2**20))
    assert caught.value.code == "decode_oom"


def test_the_child_finds_the_package_where_only_pythonpath_names_it(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Pil.fromarray(np.zeros((40, 40, 3), np.uint8)).save(stream, "TIFF")
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    source = Path(__file__).parents[2] / "src"
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    code = (
        f"import sys; sys.path += ['src', {packages!r}];"
        "from veridical.media import open_media; print(open_media(sys.argv[1]).format)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(tmp_path / "a.tif")],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "tiff"


def tiff_of_zeros(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Pil.new("RGB", (width, height)).save(stream, "TIFF", compression="tiff_deflate")
    return stream.getvalue()
