"""`veridical data`: list, info, download, stats."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import PIL.Image
import pytest

from veridical.data.sources import list_sources

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def cifake(tmp_path: Path) -> Path:
    for place, name in enumerate(("train/REAL", "train/FAKE", "test/REAL", "test/FAKE")):
        folder = tmp_path / "cifake" / name
        folder.mkdir(parents=True)
        PIL.Image.new("RGB", (32, 32), (place, 0, 0)).save(folder / "1.png")
    return tmp_path / "cifake"


def test_list_names_every_source(run: Run) -> None:
    listed = json.loads(run("data", "list", "--format", "json").stdout)["sources"]
    assert [source["name"] for source in listed] == list_sources()
    assert "cifar100" in run("data", "list").stdout


@pytest.mark.parametrize("name", list_sources())
def test_info_says_licence_place_and_layout(run: Run, name: str) -> None:
    told = run("data", "info", name)
    assert told.returncode == 0
    assert all(word in told.stdout for word in ("Licence", "Where", "Layout"))
    facts = json.loads(run("data", "info", name, "--format", "json").stdout)
    assert (facts["name"], bool(facts["sets"])) == (name, name in ("hub", "gallery"))


def test_info_of_the_hub_lists_its_sets_with_labels(run: Run) -> None:
    told = run("data", "info", "hub").stdout
    assert any(line.split()[:2] == ["bitmind/AFHQ", "real"] for line in told.splitlines())
    assert any(line.split()[1:2] == ["both"] for line in told.splitlines())


def test_an_unknown_name_is_a_usage_error_with_the_nearest(run: Run, tmp_path: Path) -> None:
    for arguments in (["info", "cifar"], ["stats", "cifar:/x"], ["download", "cifar", "-o", tmp_path / "x"]):
        done = run("data", *arguments)
        assert done.returncode == 3
        assert "Did you mean 'cifar10" in done.stderr


def test_download_says_why_not(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    for name, says in (("genimage", "Get it here"), ("cifake", "forbids"), ("hub:bitmind/AFHQ", "forbids")):
        done = run("data", "download", name, "-o", tmp_path / "set")
        assert (done.returncode, done.stdout) == (3, "")
        assert says in done.stderr
    assert not (tmp_path / "set").exists()


def test_stats_of_a_whole_set_is_0(run: Run, cifake: Path) -> None:
    done = run("data", "stats", f"cifake:{cifake}")
    assert done.returncode == 0
    assert "0 of 4 samples cannot be read" in done.stdout
    assert "Pictures with copies across splits: 0" in done.stdout
    only = json.loads(run("data", "stats", f"cifake:{cifake}", "--split", "test", "--format", "json").stdout)
    assert only["samples"] == 2


def test_stats_is_2_and_names_what_cannot_be_read(run: Run, cifake: Path) -> None:
    (cifake / "train/FAKE/notes.txt").write_text("no picture")
    done = run("data", "stats", f"cifake:{cifake}")
    assert done.returncode == 2
    assert any(
        line.split()[:3] == ["fake", "train", "unsupported_format"] and line.endswith("notes.txt")
        for line in done.stdout.splitlines()
    )
    told = run("data", "stats", f"cifake:{cifake}", "--format", "json")
    assert told.returncode == 2
    assert json.loads(told.stdout)["unreadable"][0]["code"] == "unsupported_format"


def test_stats_shouts_when_a_picture_is_both_real_and_fake(run: Run, cifake: Path) -> None:
    shutil.copy(cifake / "train/REAL/1.png", cifake / "test/FAKE/2.png")
    done = run("data", "stats", f"cifake:{cifake}")
    assert done.returncode == 0
    assert "Pictures with copies across splits: 1" in done.stdout
    assert "(both real and fake!)" in done.stdout


def test_stats_of_no_set_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    for source in (tmp_path / "absent", f"cifake:{tmp_path / 'absent'}"):
        done = run("data", "stats", source)
        assert (done.returncode, done.stdout) == (3, "")
        assert "error:" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from veridical.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "data", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(ran.stderr.split()) & {"numpy", "PIL", "huggingface_hub", "pyarrow"}
