"""Operators that an ONNX file has and Paddle does not, run by ONNX Runtime."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import paddle

from ocrslim.errors import GraphError
from ocrslim.formats import onnx_runtime_lacks
from ocrslim.graph import Op
from ocrslim.models.imported.operators.table import Arguments


def require_runtime(op: Op) -> None:
    """Require what runs such an operator.

    Raises:
        GraphError: ONNX Runtime is not installed, or does not start.
    """
    lacks = onnx_runtime_lacks()
    if lacks:
        raise GraphError(f"{op} is run by ONNX Runtime alone. {lacks}, or export the network without that operator")


def run_alone(op: Op, model: bytes, arguments: Arguments, training: bool) -> list[Any]:
    """Run an operator on the values of its inputs.

    Args:
        model: of ONNX's, of this operator alone.

    Raises:
        NotImplementedError: gradients are asked for, which ONNX Runtime does not have.
    """
    asked = paddle.is_grad_enabled() and any(not value.stop_gradient for value in arguments.values())
    if training or asked:
        raise NotImplementedError(f"operator {op} is run by ONNX Runtime, without gradients")
    session, kinds = _session(model)
    given = {name: value.numpy().astype(kinds[name]) for name, value in arguments.items()}
    return [paddle.to_tensor(_single(array)) for array in session.run(None, given)]


def _single(array: np.ndarray) -> np.ndarray:
    """Floating-point numbers are all of single precision here, whatever the file casts them to."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


@functools.cache
def _session(model: bytes) -> tuple[Any, dict[str, np.dtype[Any]]]:
    """Return what runs a model, and the types of its inputs."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # as many as the layers around it
    inputs = onnx.load_from_string(model).graph.input
    kinds = {one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type) for one in inputs}
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), kinds
