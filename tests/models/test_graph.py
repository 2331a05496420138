from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from veridical.errors import ModelError
from veridical.models.bundle import write_bundle
from veridical.models.card import Card
from veridical.models.graph import check_graph

Change = Callable[[onnx.ModelProto], object]


def code_for(graph: bytes, change: Change) -> str:
    """The code with which the graph is refused after a change, or 'accepted'."""
    model = onnx.load_model_from_string(graph)
    change(model)
    try:
        check_graph(model.SerializeToString())
    except ModelError as error:
        return error.code
    return "accepted"


def test_the_plain_graph_is_accepted(graph: bytes) -> None:
    assert code_for(graph, lambda model: None) == "accepted"


def test_a_map_beside_the_logits_is_accepted(graph: bytes) -> None:
    def add_map(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("ReduceMean", ["floats", "last"], ["map"], keepdims=0))
        model.graph.initializer.append(numpy_helper.from_array(np.array([3]), "last"))
        model.graph.output.append(helper.make_tensor_value_info("map", TensorProto.FLOAT, ["b", "h", "w"]))

    assert code_for(graph, add_map) == "accepted"


@pytest.mark.parametrize("location", ["../../etc/passwd", "model.onnx.data", "/dev/zero"])
def test_parameters_in_another_file_are_refused(graph: bytes, location: str) -> None:
    def move_outside(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    assert code_for(graph, move_outside) == "unsafe_graph"


def test_a_constant_in_another_file_is_refused(graph: bytes) -> None:
    tensor = numpy_helper.from_array(np.array(1, np.float32), "constant")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")
    node = helper.make_node("Constant", [], ["unused"], value=tensor)
    assert code_for(graph, lambda model: model.graph.node.append(node)) == "unsafe_graph"


def test_the_product_with_an_int8_matrix_is_accepted(graph: bytes) -> None:
    node = helper.make_node("MatMulNBits", ["means", "means", "means"], ["unused"], domain="com.microsoft")

    def add(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        model.graph.node.append(node)

    assert code_for(graph, add) == "accepted"


@pytest.mark.parametrize("domain", ["com.microsoft", "evil", "ai.onnx.contrib", "ai.onnx.ml"])
def test_foreign_operators_are_refused(graph: bytes, domain: str) -> None:
    node = helper.make_node("Anything", ["means"], ["unused"], domain=domain)
    assert code_for(graph, lambda model: model.graph.node.append(node)) == "unsafe_graph"


def test_foreign_operators_two_subgraphs_deep_are_refused(graph: bytes) -> None:
    def hide(model: onnx.ModelProto) -> None:
        node = helper.make_node("PyOp", [], ["inner"], domain="ai.onnx.contrib")
        for depth in range(2):
            output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])
            branch = helper.make_graph([node], f"depth{depth}", [], [output])
            node = helper.make_node("If", ["flag"], ["inner"], then_branch=branch, else_branch=branch)
        model.graph.node.append(node)

    assert code_for(graph, hide) == "unsafe_graph"


@pytest.mark.parametrize("domain", ["", "mine"])
def test_functions_of_the_models_own_are_refused(graph: bytes, domain: str) -> None:
    function = helper.make_function(
        domain,
        "Mul",
        ["a", "b"],
        ["c"],
        [helper.make_node("Add", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 20)],
    )
    assert code_for(graph, lambda model: model.functions.append(function)) == "unsafe_graph"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_parameters_that_are_not_finite_are_refused(graph: bytes, value: float, dtype: type) -> None:
    tensor = numpy_helper.from_array(np.array([0, value], dtype), "broken")
    assert code_for(graph, lambda model: model.graph.initializer.append(tensor)) == "non_finite_parameters"


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Constant", [], ["x"], value=numpy_helper.from_array(np.array(np.nan, np.float32))),
        helper.make_node("Constant", [], ["x"], value_float=float("inf")),
        helper.make_node("Constant", [], ["x"], value_floats=[1.0, float("nan")]),
        helper.make_node("LeakyRelu", ["floats"], ["x"], alpha=float("nan")),
    ],
    ids=["tensor", "float", "floats", "attribute"],
)
def test_constants_that_are_not_finite_are_refused(graph: bytes, node: onnx.NodeProto) -> None:
    assert code_for(graph, lambda model: model.graph.node.append(node)) == "non_finite_parameters"


def test_a_sparse_parameter_that_is_not_finite_is_refused(graph: bytes) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [float("nan")])
    indices = helper.make_tensor("where", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, indices, [3])
    change = lambda model: model.graph.sparse_initializer.append(sparse)  # noqa: E731
    assert code_for(graph, change) == "non_finite_parameters"


def test_a_tensor_that_holds_less_than_its_shape_says_is_refused(graph: bytes) -> None:
    def stretch(model: onnx.ModelProto) -> None:
        model.graph.initializer[1].dims.extend([100_000, 100_000])

    assert code_for(graph, stretch) == "malformed_bundle"


def set_input(elem_type: int, shape: list[str | int]) -> Change:
    value = helper.make_tensor_value_info("pixels", elem_type, shape)
    return lambda model: model.graph.input[0].CopyFrom(value)


@pytest.mark.parametrize(
    "change",
    [
        set_input(TensorProto.FLOAT, ["b", "h", "w", 3]),
        set_input(TensorProto.UINT8, ["b", 3, "h", "w"]),
        set_input(TensorProto.UINT8, ["h", "w", 3]),
        set_input(TensorProto.UINT8, ["b", "h", "w", 4]),
        lambda model: model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [])),
        lambda model: model.graph.ClearField("output"),
        lambda model: model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b"])),
        lambda model: model.graph.output[0].CopyFrom(
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])
        ),
        lambda model: model.graph.ClearField("node"),
        lambda model: model.graph.node.append(helper.make_node("NoSuchOperator", ["means"], ["unused"])),
    ],
    ids=[
        "floats", "channels_first", "no_batch", "four_channels", "two_inputs",
        "no_output", "other_output", "two_logits", "no_nodes", "unknown_operator",
    ],
)  # fmt: skip
def test_another_interface_than_ours_is_refused(graph: bytes, change: Change) -> None:
    assert code_for(graph, change) == "malformed_bundle"


@pytest.mark.parametrize("data", [b"", b"not a graph", b"\x08", b"\xff" * 100])
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        check_graph(data)
    assert caught.value.code == "malformed_bundle"


def test_writing_a_bundle_checks_its_graph(tmp_path: Path, graph: bytes, card: Card) -> None:
    model = onnx.load_model_from_string(graph)
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "broken"))
    with pytest.raises(ModelError) as caught:
        write_bundle(tmp_path / "tiny", dataclasses.replace(card), {"model.onnx": model.SerializeToString()})
    assert caught.value.code == "non_finite_parameters"
