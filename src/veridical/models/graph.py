"""Rules for graphs: our inputs and outputs, standard operators, finite numbers, nothing in other files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from veridical.errors import ModelError

if TYPE_CHECKING:
    import onnx

# ONNX Runtime's product with a matrix that is stored in int8: the one operator of another domain that is run.
_ALLOWED = {("com.microsoft", "MatMulNBits")}


def check_graph(graph: bytes) -> None:
    """Refuse a graph that could read other files, run foreign operators or give numbers that are not finite.

    The one input is uint8 (batch, height, width, 3); the outputs are `logits` (batch,) and, if it has one,
    `map` (batch, height, width), float32. Raises `ModelError`: `malformed_bundle`, `unsafe_graph`,
    `non_finite_parameters`.
    """
    import google.protobuf.message
    import onnx  # costs 0.17 CPU seconds, which the shipped bundles need not pay

    try:
        model = onnx.load_model_from_string(graph)
    except google.protobuf.message.DecodeError as error:
        raise ModelError(f"model.onnx is not an ONNX graph: {error}") from error
    graphs = list(_with_subgraphs(model.graph))
    nodes = [node for inner in graphs for node in inner.node]
    _refuse_foreign_operators(model, nodes)
    for tensor in _tensors(graphs, nodes):
        _refuse_external_data(tensor)
        _refuse_non_finite(tensor)
    _refuse_non_finite_attributes(nodes)
    _require_our_interface(model.graph)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"model.onnx is not a valid ONNX graph: {error}") from error


def _with_subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph itself, and those inside its nodes (`If`, `Loop`, `Scan`), however deep."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _with_subgraphs(attribute.g)
            for inner in attribute.graphs:
                yield from _with_subgraphs(inner)


def _tensors(graphs: list[onnx.GraphProto], nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    attributes = [attribute for node in nodes for attribute in node.attribute]
    sparse = [tensor for graph in graphs for tensor in graph.sparse_initializer]
    for graph in graphs:
        yield from graph.initializer
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            sparse.append(attribute.sparse_tensor)
        sparse.extend(attribute.sparse_tensors)
    for tensor in sparse:
        yield tensor.values
        yield tensor.indices


def _refuse_foreign_operators(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    # A function of the model's own could also redefine a standard operator.
    used = {(node.domain, node.op_type) for node in nodes if node.domain not in {"", "ai.onnx"}}
    if model.functions or not used <= _ALLOWED:
        foreign = sorted(f"{domain}.{name}" for domain, name in used - _ALLOWED)
        raise ModelError(
            f"model.onnx uses the operators {foreign} and defines {len(model.functions)} of its own; "
            "only ONNX's standard operators and MatMulNBits are run.",
            code="unsafe_graph",
            hint="Export the graph with its functions inlined.",
        )


def _refuse_external_data(tensor: onnx.TensorProto) -> None:
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ModelError(
            f"model.onnx keeps '{tensor.name}' in another file, which its card's hash does not cover.",
            code="unsafe_graph",
            hint="Save the graph with its parameters inside.",
        )


def _refuse_non_finite(tensor: onnx.TensorProto) -> None:
    import numpy as np
    import onnx

    if tensor.data_type == onnx.TensorProto.STRING:
        return
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"model.onnx holds a damaged tensor '{tensor.name}': {error}") from error
    if values.dtype.kind not in "biu" and not np.isfinite(values).all():
        raise _non_finite(f"model.onnx holds NaN or infinity in '{tensor.name}'.")


def _refuse_non_finite_attributes(nodes: list[onnx.NodeProto]) -> None:
    import numpy as np

    for node in nodes:
        for attribute in node.attribute:
            if not np.isfinite([attribute.f, *attribute.floats]).all():
                raise _non_finite(
                    f"model.onnx holds NaN or infinity in '{attribute.name}' of a {node.op_type} node."
                )


def _non_finite(message: str) -> ModelError:
    return ModelError(
        message, code="non_finite_parameters", hint="The training diverged; use an earlier checkpoint."
    )


def _require_our_interface(graph: onnx.GraphProto) -> None:
    import onnx

    parameters = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in parameters]
    if len(inputs) != 1 or not _is_pixels(inputs[0]):
        raise ModelError(
            "model.onnx must have one input, uint8 (batch, height, width, 3).",
            hint="Normalisation belongs inside the graph; see 'veridical export'.",
        )
    ranks = {"logits": 1, "map": 3}
    outputs = {value.name: value.type.tensor_type for value in graph.output}
    if "logits" not in outputs or not outputs.keys() <= ranks.keys():
        raise ModelError(f"model.onnx must give 'logits' and at most a 'map'; it gives {sorted(outputs)}.")
    for name, value in outputs.items():
        if value.elem_type != onnx.TensorProto.FLOAT or len(value.shape.dim) != ranks[name]:
            raise ModelError(f"model.onnx must give '{name}' as float32 with {ranks[name]} dimension(s).")


def _is_pixels(value: onnx.ValueInfoProto) -> bool:
    import onnx

    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type == onnx.TensorProto.UINT8 and len(dims) == 4 and bool(dims[3].dim_value == 3)
