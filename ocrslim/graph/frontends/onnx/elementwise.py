"""What works entry by entry, or along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ocrslim.graph.frontends.onnx.network import DATA_TYPES, FormError, Network, converter
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import Value

_ALONE = {
    **{"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish", "Swish": "swish", "Erf": "erf"},
    **{"Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "abs", "Floor": "floor", "Ceil": "ceil", "Round": "round"},
    **{"Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos", "Sign": "sign", "Softsign": "softsign"},
    "Not": "logical_not",
}
# type -> operator, {attribute in Paddle: attribute in ONNX, its default}
_WITH_SETTINGS: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "HardSigmoid": ("hardsigmoid", {"slope": ("alpha", 0.2), "offset": ("beta", 0.5)}),
    "LeakyRelu": ("leaky_relu", {"negative_slope": ("alpha", 0.01)}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
}
_PAIRS = {
    **{"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Max": "maximum", "Min": "minimum"},
    **{"Pow": "elementwise_pow", "Equal": "equal", "Less": "less_than", "Greater": "greater_than"},
    **{"LessOrEqual": "less_equal", "GreaterOrEqual": "greater_equal", "And": "logical_and", "Or": "logical_or"},
}
_REDUCTIONS = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min"}


@converter(*_ALONE)
def alone(node: Node, net: Network) -> Value:
    """A function of each entry."""
    return net.emit(_ALONE[node.kind], {"x": net.input(node, 0)}, net.made(node))


@converter(*_WITH_SETTINGS)
def with_settings(node: Node, net: Network) -> Value:
    """A function of each entry with parameters."""
    name, settings = _WITH_SETTINGS[node.kind]
    found = {new: float(node.attributes.get(old, default)) for new, (old, default) in settings.items()}
    return net.emit(name, {"x": net.input(node, 0)}, net.made(node), **found)


@converter("Gelu")
def gelu(node: Node, net: Network) -> Value:
    """By the error function, or approximated by tanh."""
    approximate = node.attributes.get("approximate", "none") == "tanh"
    return net.emit("gelu", {"x": net.input(node, 0)}, net.made(node), approximate=approximate)


@converter("Softplus")
def softplus(node: Node, net: Network) -> Value:
    """`log(1 + e^x)`."""
    return net.emit("softplus", {"x": net.input(node, 0)}, net.made(node), beta=1.0, threshold=20.0)


@converter("PRelu")
def prelu(node: Node, net: Network) -> Value:
    """Another slope below zero: one for all, or one a channel."""
    x, slope = net.input(node, 0), net.input(node, 1)
    shape, width = slope.shape or (), (x.shape or ())[1] if x.rank > 1 else 0
    mode = "all" if int(np.prod(shape)) == 1 else "channel"
    if mode == "channel" and shape not in ((width, 1, 1), (1, width, 1, 1)):
        raise FormError("PRelu with slopes that are not one a channel")
    slope = net.emit("reshape", {"x": slope}, (int(np.prod(shape)),), shape=[-1])
    return net.emit("prelu", {"x": x, "alpha": slope}, net.made(node), mode=mode, data_format="NCHW")


@converter("Clip")
def clip(node: Node, net: Network) -> Value:
    """Entries within bounds."""
    if net.kind(node.inputs[0]) != "float32":
        raise FormError("Clip of integers")
    limit = float(np.finfo(np.float32).max)
    low, high = (_bound(node, net, place) for place in (1, 2))
    x, shape = {"x": net.input(node, 0)}, net.made(node)
    if low == 0.0 and high in (None, 6.0):
        return net.emit("relu" if high is None else "relu6", x, shape)
    return net.emit("clip", x, shape, min=-limit if low is None else low, max=limit if high is None else high)


def _bound(node: Node, net: Network, place: int) -> float | None:
    found = net.numbers(node, place, "min" if place == 1 else "max")
    number = None if found is None else float(np.reshape(found, -1)[0])
    return None if number is None or abs(number) > 3.4e38 else number  # the attributes' defaults


@converter("Cast")
def cast(node: Node, net: Network) -> Value:
    """Another data type; floating-point numbers are all of single precision here."""
    x, kind = net.input(node, 0), int(node.attributes["to"])
    if kind not in DATA_TYPES:
        raise FormError(f"Cast to the data type {kind}")
    if DATA_TYPES[kind] == net.kind(node.inputs[0]):
        return x
    return net.emit("cast", {"x": x}, net.made(node), dtype=DATA_TYPES[kind])


@converter(*_PAIRS)
def pair(node: Node, net: Network) -> Value:
    """An operator of two values; of one and a number without axes, a scaling."""
    if len(node.inputs) != 2:
        raise FormError(f"{node.kind} of {len(node.inputs)} values")
    scaled = _scaled(node, net)
    if scaled is not None:
        return scaled
    kinds = [net.kind(name) for name in node.inputs]
    if kinds[0] != kinds[1]:
        raise FormError(f"{node.kind} of two data types")
    whole = node.kind == "Div" and kinds[0] != "float32"
    if whole and not all(map(net.is_size, node.inputs)):
        raise FormError("Div of integers")
    inputs = {"x": net.input(node, 0), "y": net.input(node, 1)}
    return net.emit("floor_divide" if whole else _PAIRS[node.kind], inputs, net.made(node))


def _scaled(node: Node, net: Network) -> Value | None:
    """Return an operation with a number as `scale` or `pow`; None where it is not one.

    An array of one entry is a parameter in sums and products (PP-LCNet's learned affine maps) and stays one.
    """
    for place, other in ((1, 0), (0, 1)):
        name = node.inputs[place]
        number = net.scalar(name)
        learned = node.kind in ("Add", "Sub", "Mul") and net.is_parameter(name)
        if number is None or learned or net.shape(node.inputs[other]) != net.made(node):
            continue
        if net.sizes.kinds[node.inputs[other]] != 1:
            continue
        x, shape = {"x": net.input(node, other)}, net.made(node)
        if node.kind == "Pow" and place == 1:
            return net.emit("pow", x, shape, y=number)
        factors = _as_scale(node.kind, number, place)
        if factors is not None:
            return net.emit("scale", x, shape, scale=factors[0], bias=factors[1], bias_after_scale=True)
    return None


def _as_scale(kind: str, number: float, place: int) -> tuple[float, float] | None:
    """Return factor and summand of an operation with a number that is its first (0) or second (1) input."""
    if kind == "Add":
        return 1.0, number
    if kind == "Mul":
        return number, 0.0
    if kind == "Sub":
        return (1.0, -number) if place == 1 else (-1.0, number)
    return (1.0 / number, 0.0) if kind == "Div" and place == 1 and number else None


@converter("Neg")
def negative(node: Node, net: Network) -> Value:
    """Each entry with the other sign."""
    x = {"x": net.input(node, 0)}
    return net.emit("scale", x, net.made(node), scale=-1.0, bias=0.0, bias_after_scale=True)


@converter("Sum")
def total(node: Node, net: Network) -> Value:
    """The sum of several values."""
    made = net.input(node, 0)
    for place in range(1, len(node.inputs)):
        other = net.input(node, place)
        shape = np.broadcast_shapes(made.shape or (), other.shape or ())
        made = net.emit("add", {"x": made, "y": other}, shape)
    return made


@converter("Where")
def where(node: Node, net: Network) -> Value:
    """One of two values, by a condition."""
    inputs = {name: net.input(node, place) for place, name in enumerate(("condition", "x", "y"))}
    return net.emit("where", inputs, net.made(node))


@converter(*_REDUCTIONS)
def reduction(node: Node, net: Network) -> Value:
    """One value for all along some axes."""
    x = net.input(node, 0)
    axes = net.numbers(node, 1, "axes") or []
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        return x
    found = [int(axis) % x.rank for axis in axes] or list(range(x.rank))
    keeps = bool(node.attributes.get("keepdims", 1))
    return net.emit(_REDUCTIONS[node.kind], {"x": x}, net.made(node), axis=found, keepdim=keeps)


@converter("ArgMax", "ArgMin")
def extreme(node: Node, net: Network) -> Value:
    """The place of the largest or smallest entry along an axis."""
    if node.attributes.get("select_last_index", 0):
        raise FormError(f"{node.kind} with select_last_index=1")
    x = net.input(node, 0)
    axis, keeps = int(node.attributes.get("axis", 0)) % x.rank, bool(node.attributes.get("keepdims", 1))
    settings: dict[str, Any] = {"axis": axis, "keepdims": keeps, "flatten": False, "dtype": "int64"}
    return net.emit(node.kind.lower(), {"x": x}, net.made(node), **settings)


@converter("Softmax", "LogSoftmax")
def softmax(node: Node, net: Network) -> Value:
    """Along an axis; before opset 13 along all from that one on, which must be one in effect."""
    x = net.input(node, 0)
    axis = int(node.attributes.get("axis", -1 if net.opset >= 13 else 1)) % x.rank
    if net.opset < 13 and any(size != 1 for size in (x.shape or ())[axis + 1 :]):
        raise FormError(f"{node.kind} along several axes")
    return net.emit("softmax" if node.kind == "Softmax" else "log_softmax", {"x": x}, net.made(node), axis=axis)
