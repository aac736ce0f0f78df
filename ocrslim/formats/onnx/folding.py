"""Arrays that an ONNX file computes of its tensors alone, such as weights put into another order."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ocrslim.formats.onnx.model import OnnxModel
from ocrslim.formats.onnx.sizes import untyped
from ocrslim.formats.programs.tensor_shapes import Shape

MOST_FOLDED = 1 << 26  # entries of all arrays on the way to one
_ORDERING = {"Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_ZERO_STAYS = {*_ORDERING, "Expand", "Tile"} - {"Concat"}


class Folding:
    """Computes such arrays."""

    def __init__(self, model: OnnxModel, shapes: Mapping[str, Shape]):
        """`shapes`: of all values."""
        self._model, self._shapes = model, shapes
        self._makers = {name: node for node in model.nodes for name in node.output if name}

    def array(self, name: str) -> np.ndarray | None:
        """Return the array that is the value `name`; None if it is no order of tensors alone."""
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        constants = self._model.constants
        if name in constants:
            return constants[name]
        nodes = self._behind(name)
        size = sum(prod(self._shapes[one]) for node in nodes for one in node.output if one)
        if not nodes or size > MOST_FOLDED or not all(node.op_type in _ORDERING for node in nodes):
            return None
        given = {one: constants[one] for node in nodes for one in node.input if one in constants}
        graph = helper.make_graph(nodes, "folded", [untyped(one) for one in given], [untyped(name)])
        found: Any = ReferenceEvaluator(graph, opsets={"": self._model.opset}).run(None, given)
        return np.asarray(found[0])

    def tensors(self, name: str) -> list[str]:
        """Return the tensors of the file that the value `name` is put together of, in the file's order."""
        used = {name, *(one for node in self._behind(name) for one in node.input)}
        return [one for one in self._model.constants if one in used]

    def is_zero(self, name: str) -> bool:
        """Tell whether a value is zeros, of whatever shape."""
        while name not in self._model.constants:
            node = self._makers.get(name)
            if node is None or node.op_type not in _ZERO_STAYS:
                return False
            name = node.input[0]
        return not self._model.constants[name].any()

    def _behind(self, name: str) -> list[Any]:
        """Return the nodes that lead from constants to `name`, in order; none where the image does, too."""
        wanted, found = {name}, []
        for node in reversed(self._model.nodes):
            if not wanted.isdisjoint(node.output):
                found.append(node)
                wanted.update(one for one in node.input if one)
        known = {*self._model.constants, *(one for node in found for one in node.output)}
        return found[::-1] if wanted <= known else []
