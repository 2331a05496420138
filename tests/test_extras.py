"""A hint about a missing extra is a command that works where the program was installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import veridical
from veridical.errors import MissingExtraError
from veridical.extras import EXTRAS, install_command

ROOT = Path(__file__).parents[1]
# Of these only developers know; and `all` is all the others.
NOT_FOR_USERS = {"all", "test", "check"}


def test_every_extra_that_can_be_installed_is_known() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == declared.keys() - NOT_FOR_USERS


def test_in_a_checkout_it_is_the_checkouts_own_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("heic") == "scripts/install heic"
    monkeypatch.chdir(tmp_path)
    command = install_command("heic")
    assert Path(command.split()[0]).samefile(ROOT / "scripts" / "install")
    assert os.access(command.split()[0], os.X_OK)
    assert MissingExtraError("HEIC pictures", extra="heic").hint == command


@pytest.mark.parametrize(("extra", "expected"), [("heic", "'pi-heif>=1.1'"), ("train", "'scikit-learn>=1.7'")])
def test_elsewhere_it_is_pip_with_the_packages_themselves(tmp_path: Path, extra: str, expected: str) -> None:
    shutil.copytree(Path(veridical.__file__).parent, tmp_path / "veridical", ignore=_only_sources)
    told = subprocess.run(
        [sys.executable, "-c", f"from veridical.extras import install_command as c; print(c({extra!r}))"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith(f"{sys.executable} -m pip install ")
    assert expected in told
    assert "veridical" not in told.removeprefix(sys.executable)


def _only_sources(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("weights", "__pycache__")]
