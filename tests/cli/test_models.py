from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import veridical.detectors
from veridical.extras import EXTRAS, Extra, install_command
from veridical.models.bundle import read_bundle, write_bundle

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def damaged(bundle: Path, tmp_path: Path) -> Path:
    """The bundle, under another version because this process may hold it already, with one byte flipped."""
    folder = tmp_path / "damaged"
    whole = read_bundle(bundle)
    write_bundle(folder, dataclasses.replace(whole.card, version="damaged"), {"model.onnx": whole.graph})
    graph = bytearray(whole.graph)
    graph[len(graph) // 2] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    return folder


def test_list_names_the_models_of_the_users_cache(run: Run, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "cache" / "bundles" / "mine")
    models = json.loads(run("models", "list", "--format", "json").stdout)["models"]
    assert "mine" in [model["name"] for model in models if model["origin"] == "cache"]
    assert "mine" in run("models", "list").stdout


def test_info_gives_the_card_and_its_hash(run: Run, bundle: Path) -> None:
    given = json.loads(run("models", "info", bundle, "--format", "json").stdout)
    assert given["card"] == json.loads((bundle / "card.json").read_bytes())
    assert len(given["sha256"]) == 64


def test_info_for_people_tells_error_rates_with_intervals_and_limits(run: Run, bundle: Path) -> None:
    out = run("models", "info", bundle).stdout
    assert "3.0–8.0 %" in out
    assert "It sees nothing but brightness." in out


def test_the_model_card_is_printed_or_written_the_same(run: Run, bundle: Path, tmp_path: Path) -> None:
    printed = run("models", "card", bundle)
    written = run("models", "card", bundle, "-o", tmp_path / "card.md")
    assert (printed.returncode, written.returncode, written.stdout) == (0, 0, "")
    assert printed.stdout == (tmp_path / "card.md").read_text()
    assert "5.0 % (3.0–8.0 %)" in printed.stdout
    assert read_bundle(bundle).sha256 in printed.stdout


def test_a_model_card_takes_robustness_only_of_its_own_bundle(
    run: Run, bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    for name, label in {"black": "real", "grey": "real", "white": "fake/g"}.items():
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        (pictures / f"{name}.png").rename(tmp_path / "set" / label / f"{name}.png")
    predictions = tmp_path / "p.parquet"
    words = ("--perturbation", "none", "--perturbation", "jpeg_75", "-o", predictions)
    made = run("predict", bundle, "--data", tmp_path / "set", *words)
    assert made.returncode == 0, made.stderr
    text = run("models", "card", bundle, "--robustness", predictions).stdout
    assert r"| jpeg\_75 | quality 75 | 3 |" in text
    whole = read_bundle(bundle)
    write_bundle(tmp_path / "other", dataclasses.replace(whole.card, version="2"), {"model.onnx": whole.graph})
    refused = run("models", "card", tmp_path / "other", "--robustness", predictions)
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert "holds no predictions by the bundle" in refused.stderr


def test_verify_passes_a_whole_bundle(run: Run, bundle: Path) -> None:
    ran = run("models", "verify", bundle, "--format", "json")
    assert ran.returncode == 0
    [result] = json.loads(ran.stdout)["models"]
    assert (result["error"], len(result["sha256"])) == (None, 64)


def test_one_flipped_byte_is_refused_with_4_and_the_reason(run: Run, damaged: Path, pictures: Path) -> None:
    verified = run("models", "verify", damaged)
    judged = run("detect", pictures, "--detector", damaged)
    assert (verified.returncode, judged.returncode, judged.stdout) == (4, 4, "")
    assert "hash_mismatch" in verified.stdout
    assert "model.onnx" in judged.stderr


def test_an_unknown_name_is_4(run: Run) -> None:
    for command in ("info", "verify"):
        assert run("models", command, "nonsense").returncode == 4


def test_doctor_judges_a_picture_with_the_default_detector(
    run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(veridical.detectors, "DEFAULT_DETECTOR", str(bundle))
    ran = run("doctor", "--format", "json")
    told = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert told["self_test"]["passed"]
    assert 0 < told["self_test"]["probability"] < 1
    assert told["versions"]["numpy"]


def test_doctor_is_4_when_the_default_detector_cannot_judge(
    run: Run, damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(veridical.detectors, "DEFAULT_DETECTOR", str(damaged))
    ran = run("doctor")
    assert ran.returncode == 4
    assert "Self-test FAILED" in ran.stdout


def test_doctor_gives_the_line_that_installs_a_missing_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "heic", Extra("HEIC pictures", ("no_such_module",)))
    assert install_command("heic") in run("doctor").stdout
