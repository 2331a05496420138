"""The smallest bundle: a graph that gives the mean pixel as its logit, and a card."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from veridical.models.card import Card, Paper, PixelInput


@pytest.fixture(scope="session")
def graph() -> bytes:
    """Logit = scale * mean of all pixels, for any batch and any size."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
    ]
    parameters = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array(0.01, np.float32), "scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    made = helper.make_graph(nodes, "mean", [pixels], [logits], parameters)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def card() -> Card:
    """Complete but for `files`, which writing fills in."""
    return Card(
        name="tiny",
        version="1.0",
        architecture="mean",
        description="The mean of all pixels.",
        licence="MIT",
        paper=Paper(authors="Us", title="On means", venue="Here", url="https://example.org"),
        input=PixelInput(kind="crops", size=64),
        parameters=1,
        files={},
    )
