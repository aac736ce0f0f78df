"""The arrays in an ONNX file: its initializers and the values of its `Constant` nodes, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.protobuf import parse_message
from ocrslim.formats.programs.tensor_shapes import known_shape
from ocrslim.utils import printable

# onnx.proto: TensorProto.DataType -> NumPy's type, and the field that holds the values where `raw_data` does not
_TYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
}
_EXTERNAL = 1
# attributes of `Constant` that hold numbers themselves
_NUMBERS: dict[str, Callable[[Any], np.ndarray]] = {
    "value_float": lambda attribute: np.array(attribute.f, np.float32),
    "value_floats": lambda attribute: np.array(attribute.floats, np.float32),
    "value_int": lambda attribute: np.array(attribute.i, np.int64),
    "value_ints": lambda attribute: np.array(attribute.ints, np.int64),
}


def read_onnx(data: bytes) -> dict[str, np.ndarray]:
    """Read an ONNX file's bytes; types that no weight has, such as text, are left out.

    Raises:
        FormatFault: truncated, damaged, or a file whose arrays lie in other files.
    """
    import onnx

    return arrays_of(parse_message(onnx.ModelProto, data).graph)


def arrays_of(graph: Any) -> dict[str, np.ndarray]:
    """Return the arrays in an ONNX graph; raises as `read_onnx`."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    numbers: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value" and a.HasField("t"))
            numbers.update((node.output[0], _NUMBERS[a.name](a)) for a in node.attribute if a.name in _NUMBERS)
    found = {str(name): _array(name, tensor) for name, tensor in tensors.items() if tensor.data_type in _TYPES}
    return {**found, **numbers}


def _array(name: str, tensor: Any) -> np.ndarray:
    import onnx

    if tensor.data_location == _EXTERNAL or tensor.external_data:
        raise FormatFault(
            f"{printable(name)} lies in another file, which is not opened (save the model with its arrays in it: "
            "onnx.save without save_as_external_data)"
        )
    shape = known_shape(name, tensor.dims)
    dtype, field = _TYPES[tensor.data_type]
    expected = math.prod(shape)
    raw = len(tensor.raw_data)
    found = raw / np.dtype(dtype).itemsize if raw else len(getattr(tensor, field))
    if found != expected:
        raise FormatFault(f"{printable(name)} has {found:g} values, its shape {list(shape)} asks for {expected}")
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatFault(f"{printable(name)}: {printable(error)}") from None
