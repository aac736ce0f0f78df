"""An operator of an ONNX file, and chains of them that are one operator in Paddle's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, sqrt
from typing import Any

import numpy as np

_SAME = ("Identity", "Dropout")


@dataclass(frozen=True)
class Node:
    """One operator: its type, the names of what it takes ("" for what is left out) and makes, its attributes."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]

    def given(self, place: int) -> bool:
        """Tell whether there is an input at `place`."""
        return place < len(self.inputs) and self.inputs[place] != ""


def nodes_of(protos: Iterable[Any], constants: Mapping[str, np.ndarray]) -> tuple[list[Node], dict[str, str]]:
    """Return the nodes that compute something, fused, and name -> the name that it is another one of."""
    from onnx import helper

    names: dict[str, str] = {}
    plain = []
    protos = list(protos)
    used = {name for proto in protos for name in proto.input}
    for proto in protos:
        inputs = [names.get(name, name) for name in proto.input]
        if proto.op_type in _SAME and not _trains(proto, constants) and used.isdisjoint(proto.output[1:]):
            names[proto.output[0]] = inputs[0]
            continue
        attributes = {one.name: helper.get_attribute_value(one) for one in proto.attribute}
        decoded = {name: one.decode() if isinstance(one, bytes) else one for name, one in attributes.items()}
        plain.append(Node(proto.op_type, inputs, list(proto.output), decoded))
    return _Chains(plain, constants).fused(), names


def _trains(proto: Any, constants: Mapping[str, np.ndarray]) -> bool:
    """Tell whether a dropout has a third input, which says that it trains, other than False."""
    name = proto.input[2] if len(proto.input) > 2 else ""
    return name != "" and (name not in constants or bool(constants[name].any()))


class _Chains:
    """Finds chains by their last node. Nodes before it stay: what else uses them still can, what nothing uses goes."""

    def __init__(self, nodes: Sequence[Node], constants: Mapping[str, np.ndarray]):
        self._nodes, self._constants = nodes, constants
        self._makers = {name: node for node in nodes for name in node.outputs if name}

    def fused(self) -> list[Node]:
        """Return the nodes, the last one of every chain replaced by what the chain computes."""
        kinds: Sequence[Callable[[Node], Node | None]] = (self._swish, self._hardswish, self._gelu, self._layer_norm)
        return [next(filter(None, (kind(node) for kind in kinds)), node) for node in self._nodes]

    def _swish(self, node: Node) -> Node | None:
        """`x * sigmoid(x)`."""
        for x, gate in self._pairs(node, "Mul"):
            if self._makes(gate, "Sigmoid", x):
                return Node("Swish", [x], node.outputs, {})
        return None

    def _hardswish(self, node: Node) -> Node | None:
        """`x * clip(x + 3, 0, 6) / 6`, in either order, or `x * hard_sigmoid(x)`."""
        product = self._scaled(node, 1 / 6)
        for x, gate in self._pairs(self._makers.get(product) if product else node, "Mul"):
            maker = self._makers.get(gate)
            if maker is None:
                continue
            if product is None and maker.kind == "HardSigmoid" and maker.inputs[0] == x:
                slope, offset = maker.attributes.get("alpha", 0.2), maker.attributes.get("beta", 0.5)
                fits = isclose(slope, 1 / 6, rel_tol=1e-5) and isclose(offset, 0.5)
            else:
                inner = gate if product is not None else self._scaled(maker, 1 / 6)
                fits = inner is not None and self._clipped(self._makers.get(inner), x)
            if fits:
                return Node("HardSwish", [x], node.outputs, {})
        return None

    def _clipped(self, node: Node | None, x: str) -> bool:
        if node is None or node.kind != "Clip":
            return False
        bounds = [node.attributes.get(name) for name in ("min", "max")]
        for place in (1, 2):
            if node.given(place):
                bounds[place - 1] = self._number(node.inputs[place])
        shifted = self._makers.get(node.inputs[0])
        return bounds == [0.0, 6.0] and any(
            one == x and self._number(other) == 3.0 for one, other in self._pairs(shifted, "Add")
        )

    def _gelu(self, node: Node) -> Node | None:
        """`0.5 x (1 + erf(x / sqrt(2)))`, multiplied in any order."""
        if node.kind != "Mul":
            return None
        factors = self._factors(node)
        half = [one for one in factors if (number := self._number(one)) is not None and isclose(number, 0.5)]
        others = [one for one in factors if one not in half]
        if len(half) != 1 or len(others) != 2:
            return None
        for x, gate in (others, others[::-1]):
            for one, other in self._pairs(self._makers.get(gate), "Add"):
                maker = self._makers.get(one)
                if self._number(other) == 1.0 and maker is not None and maker.kind == "Erf":
                    inner = self._makers.get(maker.inputs[0])
                    if inner is not None and self._scaled(inner, 1 / sqrt(2)) == x:
                        return Node("Gelu", [x], node.outputs, {})
        return None

    def _factors(self, node: Node) -> list[str]:
        """Return the factors of a product of products, two levels deep."""
        found: list[str] = []
        for name in node.inputs:
            maker = self._makers.get(name)
            found += maker.inputs if maker is not None and maker.kind == "Mul" else [name]
        return found

    def _layer_norm(self, node: Node) -> Node | None:
        """`(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias` along the last axis."""
        for product, bias in self._pairs(node, "Add"):
            for quotient, scale in self._pairs(self._makers.get(product), "Mul"):
                divided = self._makers.get(quotient)
                if divided is None or divided.kind != "Div":
                    continue
                centred, root = (self._makers.get(name) for name in divided.inputs)
                epsilon = self._epsilon(root, divided.inputs[0])
                if epsilon is None or not self._are_affine(scale, bias):
                    continue
                if centred is not None and centred.kind == "Sub":
                    x, mean = centred.inputs
                    if self._is_mean(mean, x):
                        settings = {"axis": -1, "epsilon": epsilon}
                        return Node("LayerNormalization", [x, scale, bias], node.outputs, settings)
        return None

    def _are_affine(self, scale: str, bias: str) -> bool:
        """Tell whether two values are tensors with a number for each entry of the last axis, as a norm has them.

        A norm without bias is followed by other additions, such as that of what goes around a block.
        """
        shapes = [self._constants[name].shape for name in (scale, bias) if name in self._constants]
        return len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 1 and shapes[0] != (1,)

    def _epsilon(self, root: Node | None, centred: str) -> float | None:
        """Return what is added to the variance of `centred` before its root is taken; None if `root` is no such."""
        if root is None or root.kind != "Sqrt":
            return None
        for variance, number in self._pairs(self._makers.get(root.inputs[0]), "Add"):
            mean, epsilon = self._makers.get(variance), self._number(number)
            if mean is None or epsilon is None:
                continue
            square = self._makers.get(mean.inputs[0])
            if square is not None and square.inputs[0] == centred and self._is_mean(variance, square.outputs[0]):
                if square.kind == "Pow" and self._number(square.inputs[1]) == 2.0:
                    return epsilon
                if square.kind == "Mul" and square.inputs[1] == centred:
                    return epsilon
        return None

    def _is_mean(self, name: str, of: str) -> bool:
        """Tell whether a value is the mean of another along its last axis."""
        node = self._makers.get(name)
        if node is None or node.kind != "ReduceMean" or node.inputs[0] != of:
            return False
        axes = self._constants.get(node.inputs[1]) if node.given(1) else node.attributes.get("axes")
        return axes is not None and list(axes) == [-1] and bool(node.attributes.get("keepdims", 1))

    def _pairs(self, node: Node | None, kind: str) -> list[tuple[str, str]]:
        """Return the two inputs of a node of `kind` in both orders; nothing for another node."""
        if node is None or node.kind != kind or len(node.inputs) != 2:
            return []
        first, second = node.inputs
        return [(first, second), (second, first)]

    def _makes(self, name: str, kind: str, of: str) -> bool:
        node = self._makers.get(name)
        return node is not None and node.kind == kind and node.inputs[0] == of

    def _scaled(self, node: Node, factor: float) -> str | None:
        """Return what `node` multiplies by `factor`, or divides by its inverse."""
        if node.kind == "Div" and len(node.inputs) == 2:
            number = self._number(node.inputs[1])
            return node.inputs[0] if number is not None and isclose(number, 1 / factor, rel_tol=1e-5) else None
        for one, other in self._pairs(node, "Mul"):
            number = self._number(other)
            if number is not None and isclose(number, factor, rel_tol=1e-5):
                return one
        return None

    def _number(self, name: str) -> float | None:
        array = self._constants.get(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
