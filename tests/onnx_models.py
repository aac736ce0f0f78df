"""Small ONNX files, built in the test, and what ONNX Runtime makes of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

IMAGE = ("n", 3, "h", "w")
Dims = Sequence[Union[int, str]]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Make a node; names are separated by spaces, `-` is one that is left out."""
    names = (["" if name == "-" else name for name in text.split()] for text in (inputs, outputs))
    return helper.make_node(kind, *names, **attributes)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Return random weights."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 3


def numbers(*values: int) -> np.ndarray:
    """Return an array of integers."""
    return np.array(values, np.int64)


def onnx_model(
    *nodes: Any,
    tensors: Mapping[str, np.ndarray] | None = None,
    image: Dims = IMAGE,
    opset: int = 13,
    out: str = "y",
) -> onnx.ModelProto:
    """Make a model of an image `x` with the output `out`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)]
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
    arrays = [numpy_helper.from_array(array, name) for name, array in (tensors or {}).items()]
    graph = helper.make_graph(list(nodes), "net", inputs, outputs, initializer=arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small_detector(path: Path, opset: int = 13) -> Path:
    """Write a detector of two convolutions, of images of any size, as the file `path`."""
    nodes = [
        node("Conv", "x a", "m", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "m", "r"),
        node("Conv", "r b", "c", kernel_shape=[1, 1]),
        node("Sigmoid", "c", "y"),
    ]
    return saved(path, onnx_model(*nodes, tensors={"a": weights(8, 3, 3, 3), "b": weights(1, 8, 1, 1)}, opset=opset))


def saved(path: Path, model: onnx.ModelProto) -> Path:
    """Write a model as the file `path`."""
    path.write_bytes(model.SerializeToString())
    return path


def photograph(*shape: int, seed: int = 1) -> np.ndarray:
    """Return a random image."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def runtime_output(file: Path, image: np.ndarray) -> np.ndarray:
    """Return the first output of a file in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(file), options)
    return session.run(None, {session.get_inputs()[0].name: image})[0]
