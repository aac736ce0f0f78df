"""What has to hold of an operator before ONNX's own inference looks at it, which ends the process where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.tensor_shapes import Shape
from ocrslim.utils import cause_of, printable

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_POOLS = ("AveragePool", "MaxPool")
_PER_AXIS = {"kernel_shape": 1, "strides": 1, "dilations": 1, "pads": 2, "output_padding": 1}  # numbers for each axis
_LEAST = {"kernel_shape": 1, "strides": 1, "dilations": 1}


class Soundness:
    """Checks nodes one by one."""

    def __init__(self, opset: int, ir_version: int):
        from onnx import checker

        self._context = type(checker.DEFAULT_CONTEXT)()
        self._context.ir_version = ir_version or checker.DEFAULT_CONTEXT.ir_version
        self._context.opset_imports = {"": opset}

    def require(self, node: Any, shapes: Mapping[str, Shape]) -> None:
        """Require that a node has the inputs, outputs and attributes that its type has, and windows that fit the map.

        Raises:
            FormatFault: naming what is not so.
        """
        from onnx import checker

        try:
            checker.check_node(node, self._context)
        except checker.ValidationError as error:
            raise FormatFault(f"{place_of(node)} is damaged: {cause_of(error)}") from None
        if node.op_type in (*_CONVOLUTIONS, *_POOLS):
            _require_window(node, shapes)


def place_of(node: Any) -> str:
    """Name a node for a message."""
    return f"node {printable(node.name or next(iter(node.output), ''))} ({node.op_type})"


def _require_window(node: Any, shapes: Mapping[str, Shape]) -> None:
    map_shape = shapes[node.input[0]]
    axes = len(map_shape) - 2
    sound = axes > 0
    if node.op_type in _CONVOLUTIONS:
        weight = shapes[node.input[1]]
        sound = sound and len(weight) == len(map_shape) and min(weight) > 0
    for attribute in node.attribute:
        count = _PER_AXIS.get(attribute.name)
        if count is not None:
            least = _LEAST.get(attribute.name, 0)
            sound = sound and len(attribute.ints) == count * axes
            sound = sound and all(least <= size < 1 << 16 for size in attribute.ints)
        elif attribute.name == "group":
            sound = sound and 0 < attribute.i < 1 << 20
    if not sound:
        raise FormatFault(f"{place_of(node)} has a window that does not fit a map of shape {list(map_shape)}")
