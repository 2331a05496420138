"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch: its threads wait for one another where another process has a core, and the
# last digits of a sum depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measuring data beside the checkout; tests that read it skip where it is absent."""
    folder = Path(os.environ.get("VERIDICAL_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "images.csv").is_file():
        pytest.skip(f"needs the shared data folder at {folder} (set VERIDICAL_SHARED)")
    return folder
