"""The smallest bundle: a graph that gives the mean pixel as its logit, and a card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from veridical.models.bundle import Bundle, write_bundle
from veridical.models.card import Card, Paper, PixelInput

WriteBundle = Callable[..., Bundle]


def mean_graph(scale: float) -> bytes:
    """Logit = scale * mean of all pixels, for any batch and any size."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
    ]
    parameters = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array(scale, np.float32), "scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    made = helper.make_graph(nodes, "mean", [pixels], [logits], parameters)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture
def write_tiny() -> WriteBundle:
    """Write a bundle to a folder; `scale` of its graph, or the graph, and fields of its card may be given."""

    def write(folder: Path, *, scale: float = 0.01, graph: bytes | None = None, **fields: object) -> Bundle:
        known: dict[str, object] = {
            "name": "tiny",
            "version": "1.0",
            "architecture": "mean",
            "description": "The mean of all pixels.",
            "licence": "MIT",
            "paper": Paper(authors="Us", title="On means", venue="Here", url="https://example.org"),
            "input": PixelInput(kind="crops", size=64, count=5),
            "parameters": 1,
            "files": {},
        }
        card = Card(**{**known, **fields})  # type: ignore[arg-type] # a wrong field would not read back
        return write_bundle(folder, card, {"model.onnx": graph or mean_graph(scale)})

    return write
