from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from veridical.cli._exit import ExitCode

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_list_names_every_model_its_place_and_its_licence(run: Run) -> None:
    listed = [json.loads(line) for line in run("generate", "--list", "--json").stdout.splitlines()]
    assert sum(row["kind"] == "image" for row in listed) == 6
    assert sum(row["kind"] == "video" for row in listed) == 3
    flux = next(row for row in listed if row["name"] == "flux")
    assert flux["hub_id"] == "black-forest-labs/FLUX.1-dev"
    assert flux["licence"] == "flux-1-dev-non-commercial-license"
    text = run("generate", "--list").stdout
    assert all((row["hub_id"] or "") in text for row in listed)


def test_the_list_loads_none_of_the_large_libraries() -> None:
    code = (
        "import sys; from veridical.cli import main; main(['generate', '--list']);"
        "sys.exit(str({'torch', 'diffusers', 'transformers'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "sdxl" in done.stdout


def test_a_fake_is_written_and_what_was_said_is_told(
    run: Run, photo: Path, tmp_path: Path, tiny_captioner: Path, tiny_diffusion: Path
) -> None:
    models = ("--model", tiny_diffusion, "--captioner", tiny_captioner, "--prompts", "caption")
    ran = run("generate", photo, *models, "--seed", "7", "-o", tmp_path / "fakes", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["path"] == str(tmp_path / "fakes" / "photo-tiny-diffusion-7.png")
    assert (told["model"], told["seed"], told["picture"]) == ("tiny-diffusion", 7, str(photo))
    assert told["prompt"] == told["caption"] != ""
    with PIL.Image.open(told["path"]) as made:
        assert (made.size, made.mode, made.format) == ((64, 64), "RGB", "PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "sdxl"), "--output are needed"),
        (("--model", "mochi", "-o", "out"), "makes videos"),
        (("--model", "sdx", "-o", "out"), "Did you mean 'sdxl'?"),
        (("--model", "sdxl", "--device", "abacus", "-o", "out"), "'abacus' cannot be used"),
        (("--model", "sdxl", "--captioner", "blip", "-o", "out"), "OWNER/NAME"),
        (("--model", "sdxl", "--prompts", "lama", "-o", "out"), "OWNER/NAME"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_loaded(
    run: Run, photo: Path, arguments: tuple[str, ...], words: str
) -> None:
    pytest.importorskip("diffusers", reason="needs the extra 'generate'")
    ran = run("generate", photo, *arguments)
    assert ran.returncode in (ExitCode.USAGE, ExitCode.MODEL)
    assert words in ran.stderr


def test_a_model_that_was_not_downloaded_is_named_while_offline(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_captioner: Path
) -> None:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    ran = run(
        "generate", photo, "--model", "sdxl", "--captioner", tiny_captioner, "--prompts", "caption",
        "-o", tmp_path / "fakes", "--json",
    )  # fmt: skip
    assert ran.returncode == ExitCode.MODEL
    assert json.loads(ran.stderr)["error"]["code"] == "offline"
    assert "stable-diffusion-xl-base-1.0" in ran.stderr
