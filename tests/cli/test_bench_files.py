"""`bench --html`, `--tables` and `--lists` from the command line."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def stored(run: Run, tmp_path: Path) -> Path:
    for index in range(12):
        path = tmp_path / "set" / ("real/camera" if index % 2 else "fake/sdxl") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    done = run("predict", "random", "constant", "--data", tmp_path / "set", "-o", tmp_path / "p.csv")
    assert done.returncode == 0, done.stderr
    return tmp_path / "p.csv"


def test_page_tables_and_lists_are_written_again_byte_for_byte(run: Run, stored: Path, tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        done = run(
            "bench", stored, "--rounds", "100", "--format", "json",
            "--html", folder / "page.html", "--tables", folder / "tables", "--lists", folder / "lists",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        written.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert written[0][Path("page.html")].startswith(b"<!doctype html>")
    assert b"data:image/jpeg;base64," in written[0][Path("page.html")]
    assert written[0][Path("tables/leaderboard.csv")].startswith(b"detector,AUROC,")
    listed = b"".join(data for path, data in written[0].items() if path.parts[:2] == ("lists", "random"))
    assert listed.count(b".png\n") == 12


@pytest.mark.parametrize("option", ["--html", "--tables", "--lists"])
def test_what_cannot_be_written_is_a_usage_error(run: Run, stored: Path, option: str) -> None:
    done = run("bench", stored, "--rounds", "100", option, stored / "below" / "a" / "file")
    assert done.returncode == 3
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr
