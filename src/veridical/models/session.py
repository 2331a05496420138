"""Sessions of ONNX Runtime: how every graph of ours is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veridical.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def start_session(graph: bytes, name: str, *, int8_weights: bool = False) -> InferenceSession:
    """A session on one thread for the bytes of a graph; `name` is what an error calls it.

    `int8_weights`: products are computed as the graph says, whatever else is in the batch. Raises `ModelError`
    (`malformed_bundle`) for a graph that ONNX Runtime cannot load.
    """
    import onnxruntime  # heavy, and not needed to list detectors

    options = onnxruntime.SessionOptions()
    # One thread for each worker and one worker for each core; more threads wait for one another.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # It would keep a plan of memory for every size of picture it has ever seen.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors, which we raise; warnings would land on the user's terminal
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The bytes were checked as ONNX, so they may not be taken for ONNX Runtime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if int8_weights:
        # Else ONNX Runtime rounds the activations too, by the range of whatever is in the batch.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(f"ONNX Runtime cannot load {name}: {error}") from error
