"""What a runtime has to do for a part of a network: few large steps, everything constant folded in.

A batch norm in eval mode, a bias and a scaling are one affine map of each channel; behind a convolution they
go into its weight and bias (Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2),
in double precision. An activation behind it, and a sum with something else, become part of the step too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph.program import Op, Value

Id = Hashable
CONV, DECONV, AFFINE = "conv2d", "conv2d_transpose", "affine"
ADD, MULTIPLY, CONCAT = "elementwise_add", "elementwise_mul", "concat"
# `axis` of a sum or product of maps of unequal size: to Paddle the same as -1, where both have four axes
STRETCHED = 0
# ours by the traced operator's name; the names are those of Paddle's program format
ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "swish": "swish",
    "silu": "swish",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
}


@dataclass(frozen=True)
class Activation:
    """An elementwise function: `name` in Paddle's program format, and its parameters."""

    name: str
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a runtime.

    Attributes:
        kind: `CONV`, `DECONV`, `AFFINE`, or an operator of Paddle's program format.
        inputs: ids of the values that go in; the second of a convolution is summed onto its output.
        output: id of the value that comes out.
        attributes: of the operator; `scale` and `shift` (of one entry, or one a channel) of an `AFFINE`.
        weight: float64, of convolutions: [out, in / groups, kh, kw], or [in, out / groups, kh, kw] if transposed.
        bias: float64 [out], or None.
        activation: applied last, or None.
    """

    kind: str
    inputs: tuple[Id, ...]
    output: Id
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    activation: Activation | None = None

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, transposed or not."""
        return self.weight is not None


def to_steps(
    ops: Iterable[Op], outputs: Sequence[Value], arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]
) -> list[Step]:
    """The steps of `ops`, folded.

    Args:
        ops: a part of a network as it infers, in order.
        outputs: values that must come out as they are.
        arrays: parameters and buffers by state-dict key.
        groups: groups of a convolution by its weight's key, where they differ from the traced ones.

    Raises:
        LoweringError: an operator, or a setting of it, that has no step.
    """
    converter = _Converter(arrays, groups)
    steps = [step for op in ops for step in converter.convert(op)]
    if any(converter.constant(value) is not None for value in outputs):
        raise LoweringError("an output that does not depend on the network's input is not known to the runtime")
    return fold(steps, [value.id for value in outputs])


def fold(steps: Iterable[Step], outputs: Iterable[Id]) -> list[Step]:
    """Merge affine maps, activations and sums into the convolutions that they alone follow."""
    steps = list(steps)
    uses = Counter(used for step in steps for used in step.inputs)
    uses.update(outputs)
    folded: dict[Id, Step] = {}  # by output, in order
    for step in steps:
        maker = next((folded[i] for i in step.inputs if _may_grow(folded.get(i), uses)), None)
        merged = None if maker is None else _merged(maker, step, uses)
        if maker is not None and merged is not None:
            del folded[maker.output]
        folded[step.output] = step if merged is None else merged
    return list(folded.values())


def _may_grow(step: Step | None, uses: Mapping[Id, int]) -> bool:
    return step is not None and step.convolves and step.activation is None and uses[step.output] == 1


def _merged(maker: Step, step: Step, uses: Mapping[Id, int]) -> Step | None:
    """`step` as part of the convolution `maker` before it; None where it must stay on its own."""
    if step.kind == AFFINE and len(maker.inputs) == 1:
        return _scaled(maker, step)
    if step.kind in ACTIVATIONS.values() and maker.kind == CONV:  # a transposed one takes none in Paddle
        return replace(maker, output=step.output, activation=Activation(step.kind, step.attributes))
    if step.kind == ADD and maker.kind == CONV and len(maker.inputs) == 1:
        other = next((i for i in step.inputs if i != maker.output), maker.output)
        # the runtime may write the sum over the other summand, which must have its size
        if uses[other] == 1 and other != maker.output and step.attributes["axis"] != STRETCHED:
            return replace(maker, output=step.output, inputs=(maker.inputs[0], other))
    return None


def _scaled(maker: Step, affine: Step) -> Step:
    assert maker.weight is not None
    scale, shift = affine.attributes["scale"], affine.attributes["shift"]
    bias = shift if maker.bias is None else maker.bias * scale + shift
    return replace(
        maker, output=affine.output, weight=_times(maker, scale), bias=np.broadcast_to(bias, (out_channels(maker),))
    )


def _times(step: Step, scale: np.ndarray) -> np.ndarray:
    """The weight of a convolution with each output channel multiplied."""
    weight = step.weight
    assert weight is not None
    scale = np.broadcast_to(scale, (out_channels(step),))
    if step.kind == CONV:
        return weight * scale[:, None, None, None]
    groups = step.attributes["groups"]
    blocks = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, 1, 1)
    return blocks.reshape(weight.shape)


def out_channels(step: Step) -> int:
    """Output channels of a convolution."""
    assert step.weight is not None
    return step.weight.shape[0] if step.kind == CONV else step.weight.shape[1] * step.attributes["groups"]


class _Converter:
    """Operators one by one; remembers values that only parameters and constants go into."""

    def __init__(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]):
        self._arrays = arrays
        self._groups = groups
        self._constants: dict[Id, np.ndarray] = {}
        self._lists: dict[Id, list[Id]] = {}

    def convert(self, op: Op) -> list[Step]:
        """The steps of an operator: one, or none where it only makes a constant or a list."""
        try:
            step = _CONVERTERS[op.name](self, op)
        except KeyError as error:
            raise LoweringError(f"{op}: not known to the runtime ({error})") from None
        if step is None:
            return []
        if any(value.id in step.inputs and self.constant(value) is not None for value in op.values()):
            raise LoweringError(f"{op}: computing with constants alone is not known to the runtime")
        return [step]

    def constant(self, value: Value) -> np.ndarray | None:
        """What is known of a value before the network runs."""
        if value.parameter is not None:
            return self._arrays[value.parameter].astype(np.float64)
        return self._constants.get(value.id)

    def remember(self, op: Op) -> None:
        """`full`: a constant."""
        self._constants[op.outputs[0].id] = np.full(op.attributes["shape"], op.attributes["value"], np.float64)

    def skip(self, op: Op) -> None:
        """An input of the network, or a constant that is among the attributes of what uses it."""

    def gather(self, op: Op) -> None:
        """`combine`: a list of values."""
        if any(self.constant(value) is not None for value in op.values()):
            raise LoweringError(f"{op}: a parameter in a list of values is not known to the runtime")
        self._lists[op.outputs[0].id] = [value.id for value in op.values()]

    def reshape(self, op: Op) -> None:
        """Of a constant only."""
        constant = self.constant(op["x"])
        if constant is None:
            raise LoweringError(f"{op}: a reshape of what the network computes is not known to the runtime")
        traced, shape = op["x"].shape, op.ints("shape")
        if traced != constant.shape and sum(size != 1 for size in shape) == 1:  # a vector that was pruned
            shape = [size if size == 1 else -1 for size in shape]
        try:
            self._constants[op.outputs[0].id] = constant.reshape(shape)
        except ValueError:
            raise LoweringError(f"{op}: {list(constant.shape)} to {shape} is not known to the runtime") from None

    def convolution(self, op: Op) -> Step:
        transposed = op.name.endswith("transpose")
        _expect(op, data_format="NCHW", padding_algorithm="EXPLICIT")
        key = op["filter"].parameter
        if key is None or op.attributes.get("output_size") or len(op.ints("paddings")) != 2:
            raise LoweringError(
                f"{op}: a computed weight, an output size or uneven padding is not known to the runtime"
            )
        settings: dict[str, Any] = {name: op.ints(name) for name in ("strides", "paddings", "dilations")}
        settings["groups"] = self._groups.get(key, op.ints("groups")[0])
        if transposed:
            settings["output_padding"] = op.ints("output_padding", [])
        source = op["x" if transposed else "input"].id
        weight = self._arrays[key].astype(np.float64)
        return Step(DECONV if transposed else CONV, (source,), op.outputs[0].id, settings, weight)

    def batch_norm(self, op: Op) -> Step:
        gamma, beta, mean, variance = (self.constant(op[name]) for name in ("scale", "bias", "mean", "variance"))
        if gamma is None or beta is None or mean is None or variance is None or not op.attributes["is_test"]:
            raise LoweringError(f"{op}: with computed parameters, or in training mode")
        if op.attributes.get("trainable_statistics"):
            raise LoweringError(f"{op}: with the statistics of the batch it runs on is not known to the runtime")
        _expect(op, data_format="NCHW")
        scale = gamma / np.sqrt(variance + op.attributes["epsilon"])
        return _affine(op["x"], op, scale, beta - mean * scale)

    def arithmetic(self, op: Op) -> Step:
        """A sum or product, with a constant of one entry or one a channel or with something computed."""
        one, zero, kind = np.ones(1), np.zeros(1), op.name
        for value, other in ((op["x"], op["y"]), (op["y"], op["x"])):
            constant = self.constant(other)
            if constant is not None:
                vector = _channel_vector(op, constant, value)
                return _affine(value, op, *((one, vector) if kind == "add" else (vector, zero)))
        shapes = [op["x"].shape, op["y"].shape]
        if op.outputs[0].shape not in shapes or op["x"].rank != op["y"].rank:
            raise LoweringError(f"{op}: of shapes that stretch one another is not known to the runtime")
        axis = -1 if shapes[0] == shapes[1] else STRETCHED
        return Step(ADD if kind == "add" else MULTIPLY, (op["x"].id, op["y"].id), op.outputs[0].id, {"axis": axis})

    def scale(self, op: Op) -> Step:
        factor, shift = np.full(1, op.attributes["scale"], np.float64), np.full(1, op.attributes["bias"], np.float64)
        return _affine(op["x"], op, factor, shift if op.attributes["bias_after_scale"] else shift * factor)

    def activation(self, op: Op) -> Step:
        attributes: dict[str, float] = {}
        if op.name == "hardswish":
            attributes = {"threshold": 6.0, "scale": 6.0, "offset": 3.0}
        elif op.name == "hardsigmoid":
            attributes = {name: float(op.attributes[name]) for name in ("slope", "offset")}
        elif op.name == "leaky_relu":
            attributes = {"alpha": float(op.attributes["negative_slope"])}
        elif op.name in ("swish", "silu"):
            attributes = {"beta": 1.0}
        elif op.name == "relu6":
            attributes = {"threshold": 6.0}
        return Step(ACTIVATIONS[op.name], (op["x"].id,), op.outputs[0].id, attributes)

    def concat(self, op: Op) -> Step:
        return Step(CONCAT, tuple(self._lists[op["x"].id]), op.outputs[0].id, {"axis": op.axis(op.outputs[0])})

    def interpolation(self, op: Op) -> Step:
        _expect(op, data_format="NCHW")
        scale = [float(factor) for factor in op.attributes["scale"]]
        if op.inputs.get("out_size") or op.inputs.get("size_tensor") or op.inputs.get("scale_tensor") or not scale:
            raise LoweringError(f"{op}: to a size instead of by a factor is not known to the runtime")
        names = ("interp_method", "align_corners", "align_mode")
        settings = {name: op.attributes[name] for name in names}
        free = {"data_layout": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1}
        return Step(f"{op.name}_v2", (op["x"].id,), op.outputs[0].id, {**settings, **free, "scale": scale})

    def pool(self, op: Op) -> Step:
        _expect(op, data_format="NCHW")
        names = ("pooling_type", "strides", "paddings", "ceil_mode", "exclusive", "adaptive", "global_pooling")
        settings = {name: op.attributes[name] for name in (*names, "padding_algorithm", "data_format")}
        return Step("pool2d", (op["x"].id,), op.outputs[0].id, {**settings, "ksize": op.ints("kernel_size")})


_CONVERTERS: dict[str, Callable[[_Converter, Op], Step | None]] = {
    "data": _Converter.skip,
    "full": _Converter.remember,
    "full_int_array": _Converter.skip,
    "combine": _Converter.gather,
    "reshape": _Converter.reshape,
    "conv2d": _Converter.convolution,
    "depthwise_conv2d": _Converter.convolution,
    "conv2d_transpose": _Converter.convolution,
    "depthwise_conv2d_transpose": _Converter.convolution,
    "batch_norm": _Converter.batch_norm,
    "add": _Converter.arithmetic,
    "multiply": _Converter.arithmetic,
    "scale": _Converter.scale,
    "concat": _Converter.concat,
    "nearest_interp": _Converter.interpolation,
    "bilinear_interp": _Converter.interpolation,
    "pool2d": _Converter.pool,
    **dict.fromkeys(ACTIVATIONS, _Converter.activation),
}


def _affine(source: Value, op: Op, scale: np.ndarray, shift: np.ndarray) -> Step:
    return Step(AFFINE, (source.id,), op.outputs[0].id, {"scale": scale, "shift": shift})


def _channel_vector(op: Op, constant: np.ndarray, value: Value) -> np.ndarray:
    """A constant operand as one entry, or as one for each channel on axis 1."""
    aligned = constant.reshape((1,) * (value.rank - constant.ndim) + constant.shape)
    fits = constant.size == 1 or (aligned.ndim == value.rank == 4 and aligned.size == aligned.shape[1])
    if not fits or op.outputs[0].shape != value.shape:
        raise LoweringError(f"{op}: a constant of shape {list(constant.shape)} is not known to the runtime")
    return constant.reshape(-1)


def _expect(op: Op, **settings: str) -> None:
    for name, value in settings.items():
        if op.attributes.get(name, value) != value:
            raise LoweringError(f"{op}: {name} {op.attributes[name]} is not known to the runtime, only {value}")
