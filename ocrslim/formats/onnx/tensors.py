"""The tensors of an ONNX file, changed in place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


def copy_name(tensor: str, output: str, place: int) -> str:
    """Name the copy of a tensor that the input at `place` of the node that makes `output` has for itself."""
    return f"{tensor}@{output}[{place}]"


def set_tensor(graph: Any, name: str, array: np.ndarray) -> None:
    """Replace a tensor of the file, an initializer or the value of a `Constant`, by an array; its type stays."""
    for tensor in graph.initializer:
        if tensor.name == name:
            _fill(tensor, array)
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            for attribute in node.attribute:
                if attribute.name == "value":
                    _fill(attribute.t, array)
                elif attribute.name in ("value_floats", "value_ints"):
                    getattr(attribute, attribute.name.partition("_")[2])[:] = array.tolist()
    for value in graph.input:  # files of old name their initializers as inputs, too
        if value.name == name:
            for dim, size in zip(value.type.tensor_type.shape.dim, array.shape):
                dim.dim_value = size


def _fill(tensor: Any, array: np.ndarray) -> None:
    from onnx import helper, numpy_helper

    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    filled = numpy_helper.from_array(np.ascontiguousarray(array, dtype), tensor.name)
    filled.doc_string = tensor.doc_string
    tensor.CopyFrom(filled)


def add_tensor(graph: Any, name: str, array: np.ndarray) -> None:
    """Add an initializer."""
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))


def used_once(graph: Any, name: str) -> bool:
    """Tell whether a single input of a single node is the value `name`."""
    return Counter(one for node in graph.node for one in node.input)[name] == 1
