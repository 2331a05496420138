"""Smaller graphs: int8 weights alone, or int8 weights and activations."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # int8 and float arrays side by side

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

# Smaller tensors are left as they are: there is little to win, and scales and biases matter most.
_LEAST_ELEMENTS = 4096

# Entries of a matrix that share a scale: a power of two, and more would not fit twice into CLIP's width.
_BLOCK = 256

# Of ONNX Runtime's levels of accuracy the one whose products are of int8 numbers.
_INT8_PRODUCTS = 4


def quantise_weights(graph: bytes) -> bytes:
    """A graph with its matrices and kernels as int8; a picture's logit never depends on its batch.

    Matrices get a scale for each output channel and block of inputs, and multiply rows that are rounded to int8
    block by block on their own (`MatMulNBits`): nothing is turned back into float32 when the graph is loaded.
    Kernels get a scale for each output channel, -127 to 127, and `DequantizeLinear` turns them back.
    """
    return _with_int8_kernels(_with_int8_matrices(onnx.load_model_from_string(graph)))


def _with_int8_matrices(model: onnx.ModelProto) -> onnx.ModelProto:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    # Importing it sets up logging for the whole process, and every library would tell its steps.
    root.handlers[:] = handlers
    root.setLevel(level)
    quantiser = MatMulNBitsQuantizer(
        model, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_INT8_PRODUCTS
    )
    quantiser.process()
    quantised: onnx.ModelProto = quantiser.model.model
    return quantised


def _with_int8_kernels(model: onnx.ModelProto) -> bytes:
    axes = {
        node.input[place]: axis
        for node in model.graph.node
        for place, axis in _output_axes(node)
        if place < len(node.input)
    }
    steps = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.name not in axes or values.dtype != np.float32 or values.size < _LEAST_ELEMENTS:
            continue
        axis = axes[tensor.name] % values.ndim
        scales = _scales(values, axis)
        levels = np.rint(values / np.expand_dims(scales, _others(values.ndim, axis))).astype(np.int8)
        model.graph.initializer.remove(tensor)
        parts: dict[str, npt.NDArray[Any]] = {f"{tensor.name}_int8": levels, f"{tensor.name}_scales": scales}
        model.graph.initializer.extend(numpy_helper.from_array(part, name) for name, part in parts.items())
        steps.append(helper.make_node("DequantizeLinear", list(parts), [tensor.name], axis=axis))
    nodes = [*steps, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def quantise(graph: bytes, pictures: Iterator[npt.NDArray[np.uint8]]) -> bytes:
    """Static int8 (QDQ, weights per output channel), activation ranges from `pictures`, each (1, h, w, 3)."""
    with tempfile.TemporaryDirectory() as name:
        source, prepared, target = (Path(name) / f"{part}.onnx" for part in ("source", "prepared", "target"))
        source.write_bytes(graph)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Reader(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add", "MaxPool"],
        )
        return target.read_bytes()


class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    def __init__(self, pictures: Iterator[npt.NDArray[np.uint8]]) -> None:
        self._pictures = pictures

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        pixels = next(self._pictures, None)
        return None if pixels is None else {"pixels": pixels}


def _output_axes(node: onnx.NodeProto) -> list[tuple[int, int]]:
    """The inputs of a node that are parameters to be rounded, and the axes along which outputs lie."""
    if node.op_type == "Conv":
        return [(1, 0)]
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        return [(1, 0 if transposed else 1)]
    return []


def _scales(values: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    largest = np.abs(values).max(axis=_others(values.ndim, axis))
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(place for place in range(ndim) if place != axis)
