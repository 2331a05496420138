"""The real program on a real, tiny bundle: the brighter a picture, the more it is called AI-generated."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import PIL.Image
import pytest
from onnx import TensorProto, helper

from veridical.cli import main
from veridical.models.bundle import write_bundle
from veridical.models.card import Calibration, Card, Estimate, Measurement, Paper, PixelInput
from veridical.results import Thresholds

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process."""
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))

    def run_main(*arguments: str | Path, stdin: bytes = b"") -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        words = [str(argument) for argument in arguments]
        code = main(words)
        captured = capsys.readouterr()
        return CompletedProcess(words, code, captured.out, captured.err)

    return run_main


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Black is surely real (0.007), white surely AI (0.994), mid-grey in between."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    card = Card(
        name="tiny",
        version="1.0",
        architecture="mean",
        description="The mean of all pixels.",
        licence="MIT",
        paper=Paper(authors="Us", title="On means", venue="Here", url="https://example.org"),
        input=PixelInput(kind="crops", size=48),
        parameters=1,
        files={},
        calibration=Calibration(1.0, -5.0, ((0.0, 0.0), (0.0, 0.01)), "val", "0" * 64, n_real=9, n_fake=9),
        thresholds=Thresholds(ai=0.9, real=0.1),
        measured=(Measurement("test", "1" * 64, "veridical bench", {"fpr": Estimate(0.05, 0.03, 0.08, 400)}),),
        limits=("It sees nothing but brightness.",),
    )
    return write_bundle(folder, card, {"model.onnx": brightness_graph()}).folder


def brightness_graph() -> bytes:
    """Logit = 0.04 * mean of all pixels."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
    ]
    parameters = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array(0.04, np.float32), "scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    graph = helper.make_graph(nodes, "brightness", [pixels], [logits], parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a black, a grey and a white picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, brightness in {"black": 0, "grey": 127, "white": 255}.items():
        PIL.Image.new("RGB", (64, 48), (brightness,) * 3).save(folder / f"{name}.png")
    return folder
