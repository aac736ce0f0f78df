"""Which operators of a program are layers with weights, and Paddle's layers that take their place.

Files have a convolution's bias as an operator of its own, an addition of the vector as [1, C, 1, 1]. It becomes the
layer's bias, so that it needs no shape that names the number of channels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paddle import nn

from ocrslim.errors import GraphError
from ocrslim.graph import Op, Program, Value
from ocrslim.models.imported.operators import padding_of

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_TRANSPOSED = ("conv2d_transpose", "depthwise_conv2d_transpose")
_NORMS = {  # argument -> the layer's attribute
    "batch_norm": {"scale": "weight", "bias": "bias", "mean": "_mean", "variance": "_variance"},
    "layer_norm": {"scale": "weight", "bias": "bias"},
}
_SUFFIX = re.compile(r"([._](w|b)_\d+|[._](weights?|scale|bias|offset|mean|variance))$")


@dataclass(frozen=True)
class LayerOp:
    """An operator that is a layer, with its bias.

    Attributes:
        op: the operator.
        source: what the layer reads.
        tensors: the layer's attribute -> the parameter in the program.
        made: values that are the layer's output: the operator's, and that of the addition of its bias.
        absorbed: places of further operators that it does the work of.
    """

    op: Op
    source: Value
    tensors: Mapping[str, Value]
    made: Sequence[Value]
    absorbed: Sequence[int] = ()

    @property
    def name(self) -> str:
        """The layer's name, made of that of the tensor in the file."""
        return attribute_name(_SUFFIX.sub("", next(iter(self.tensors.values())).parameter or ""))


def attribute_name(name: str) -> str:
    """Return the name of a tensor as that of an attribute."""
    return re.sub(r"\W", "_", name) or "tensor"


def find_layers(program: Program) -> dict[int, LayerOp]:
    """Return the layers of a program by the place of their operator.

    Raises:
        GraphError: a convolution is of a kind that no layer has.
    """
    finder = _Finder(program)
    found = ((place, finder.layer(op)) for place, op in enumerate(program.ops))
    return {place: layer for place, layer in found if layer is not None}


class _Finder:
    def __init__(self, program: Program):
        self._ops = program.ops
        self._users: dict[Any, list[int]] = defaultdict(list)
        for place, op in enumerate(program.ops):
            for value in op.values():
                self._users[value.id].append(place)
        self._makers = {value.id: place for place, op in enumerate(program.ops) for value in op.outputs}
        self._outputs = {value.id for value in program.outputs}

    def layer(self, op: Op) -> LayerOp | None:
        if op.name in (*_CONVOLUTIONS, *_TRANSPOSED) and _is_parameter(op["filter"]):
            _require_format(op)
            source = op["input" if op.name in _CONVOLUTIONS else "x"]
            return self._with_bias(op, source, op["filter"], _channels(op))
        if op.name == "matmul" and _is_linear(op):
            return self._with_bias(op, op["x"], op["y"], (op["y"].shape or ())[1])
        names = _NORMS.get(op.name, {})
        if not names or not all(_is_parameter(op.inputs.get(name)) for name in names):
            return None
        if op.name == "layer_norm" and op.attributes["begin_norm_axis"] != op["x"].rank - 1:
            return None
        _require_format(op)
        return LayerOp(op, op["x"], {names[name]: op[name] for name in names}, op.outputs[:1])

    def _with_bias(self, op: Op, source: Value, weight: Value, channels: int) -> LayerOp:
        """The layer with the addition that follows it, if that adds one number to each channel."""
        out = op.outputs[0]
        users = [] if out.id in self._outputs else self._users[out.id]
        if len(users) == 1 and self._ops[users[0]].name == "add":
            add = self._ops[users[0]]
            other = add["y"] if add["x"].id == out.id else add["x"]
            bias, between = (other, []) if op.name == "matmul" else self._spread(other, channels)
            if _is_parameter(bias) and bias.shape == (channels,):
                tensors = {"weight": weight, "bias": bias}
                return LayerOp(op, source, tensors, [out, add.outputs[0]], [users[0], *between])
        return LayerOp(op, source, {"weight": weight}, [out])

    def _spread(self, value: Value, channels: int) -> tuple[Value, list[int]]:
        """Return the vector behind `value`, [1, C, 1, 1], and the place of the reshape that nothing else uses."""
        place = self._makers.get(value.id)
        if place is None or self._ops[place].name != "reshape" or value.shape != (1, channels, 1, 1):
            return value, []
        return self._ops[place]["x"], [place] if len(self._users[value.id]) == 1 else []


def _channels(op: Op) -> int:
    """Return the number of channels that a convolution makes."""
    shape = op["filter"].shape or ()
    return shape[1] * _groups(op) if op.name in _TRANSPOSED else shape[0]


def _groups(op: Op) -> int:
    return int(op.attributes.get("groups") or 1)


def _is_parameter(value: Value | None) -> bool:
    return value is not None and value.parameter is not None


def _is_linear(op: Op) -> bool:
    """Tell whether a product is that of activations with a matrix of parameters, [in, out]."""
    turned = any(op.attributes.get(name) for name in ("transpose_x", "transpose_y"))
    return _is_parameter(op["y"]) and op["y"].rank == 2 and not _is_parameter(op["x"]) and not turned


def _require_format(op: Op) -> None:
    layout = op.attributes.get("data_format", "NCHW")
    if layout != "NCHW":
        raise GraphError(f"{op}: its data format is {layout}, expected NCHW: export the network with channels first")


# -- Paddle's layers --------------------------------------------------------------------------------------------------


def build_layer(layer: LayerOp) -> nn.Layer:
    """Build the layer, with fresh weights."""
    return next(build for names, build in _BUILDERS if layer.op.name in names)(layer)


def settings_of(layer: LayerOp) -> tuple[Any, ...]:
    """Return what tells two layers apart: tensors, and how they are used."""
    parameters = tuple(sorted((name, value.parameter) for name, value in layer.tensors.items()))
    return (layer.op.name, parameters, repr(sorted(layer.op.attributes.items(), key=lambda item: item[0])))


def _convolution(layer: LayerOp) -> nn.Layer:
    op, shape, groups = layer.op, layer.tensors["weight"].shape or (), _groups(layer.op)
    settings = {"stride": op.ints("strides"), "padding": padding_of(op), "dilation": op.ints("dilations")}
    bias = None if "bias" in layer.tensors else False
    return nn.Conv2D(shape[1] * groups, shape[0], list(shape[2:]), groups=groups, bias_attr=bias, **settings)


def _transposed(layer: LayerOp) -> nn.Layer:
    op, shape, groups = layer.op, layer.tensors["weight"].shape or (), _groups(layer.op)
    if op.ints("output_size", []):
        raise GraphError(f"{op}: it names the size of its output, expected one that follows its input")
    settings = {"stride": op.ints("strides"), "padding": padding_of(op), "dilation": op.ints("dilations")}
    settings["output_padding"] = op.ints("output_padding", []) or 0
    bias = None if "bias" in layer.tensors else False
    return nn.Conv2DTranspose(shape[0], shape[1] * groups, list(shape[2:]), groups=groups, bias_attr=bias, **settings)


def _linear(layer: LayerOp) -> nn.Layer:
    return nn.Linear(*(layer.tensors["weight"].shape or ()), bias_attr=None if "bias" in layer.tensors else False)


def _batch_norm(layer: LayerOp) -> nn.Layer:
    """A batch norm whose statistics stay in training, while scale and shift train.

    Those that a file has left are few, in networks that otherwise train as they infer. By the statistics of a batch, a
    whole PP-OCRv4 recogniser loses as much on eight lines as by a cut of 30 % of its MACs.
    """
    rank, size = layer.source.rank, (layer.tensors["weight"].shape or ())[0]
    kind = {5: nn.BatchNorm3D, 4: nn.BatchNorm2D}.get(rank, nn.BatchNorm1D)
    momentum, epsilon = (float(layer.op.attributes[name]) for name in ("momentum", "epsilon"))
    return kind(size, momentum=momentum, epsilon=epsilon, use_global_stats=True)


def _layer_norm(layer: LayerOp) -> nn.Layer:
    return nn.LayerNorm(list(layer.tensors["weight"].shape or ()), epsilon=float(layer.op.attributes["epsilon"]))


_BUILDERS: tuple[tuple[Sequence[str], Callable[[LayerOp], nn.Layer]], ...] = (
    (_CONVOLUTIONS, _convolution),
    (_TRANSPOSED, _transposed),
    (("matmul",), _linear),
    (("batch_norm",), _batch_norm),
    (("layer_norm",), _layer_norm),
)
