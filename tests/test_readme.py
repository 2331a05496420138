"""What README.md says is what there is. Its Python examples run as doctests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_generated_parts_of_the_readme_are_current() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "readme"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("scripts/demo", "scripts/test", "scripts/check"):
        assert name in text
        assert (ROOT / name).stat().st_mode & 0o100


@pytest.mark.parametrize("script", ["detectors", "benchmark", "cards"])
def test_the_measured_pages_are_made_of_the_stored_predictions_and_cards(script: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
