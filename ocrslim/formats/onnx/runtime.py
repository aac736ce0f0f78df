"""ONNX Runtime: whether it is here and runs."""

from __future__ import annotations

import importlib.util

from ocrslim.utils import start_fault

ONNX_RUNTIME, ONNX_PACKAGE = "ONNX Runtime", "onnxruntime"


def onnx_runtime_lacks() -> str | None:
    """Return what keeps ONNX Runtime from running any file here, and the command that helps; None if nothing does."""
    if importlib.util.find_spec(ONNX_PACKAGE) is None:
        return f"{ONNX_RUNTIME} is not installed: pip install {ONNX_PACKAGE}"
    try:
        import onnxruntime

        onnxruntime.InferenceSession(_least_model(), providers=["CPUExecutionProvider"])
    except Exception as error:  # of a library that is missing, or of types of its own
        return start_fault(error, ONNX_RUNTIME, ONNX_PACKAGE)
    return None


def _least_model() -> bytes:
    """Return a model that every ONNX Runtime runs: its output is its input."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "least", values[:1], values[1:])
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6
    ).SerializeToString()
    return content
