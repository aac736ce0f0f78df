"""A traced program converted to steps of the intermediate representation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.ir import (
    ACTIVATIONS,
    ADD,
    AFFINE,
    CONCAT,
    CONV,
    DECONV,
    MULTIPLY,
    STRETCHED,
    Id,
    Step,
    fold,
)


def to_steps(
    ops: Iterable[Op], outputs: Sequence[Value], arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]
) -> list[Step]:
    """Return the steps of `ops`, folded.

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


class _Converter:
    """Operators one by one; remembers values that only parameters and constants go into."""

    def __init__(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]):
        self._arrays = arrays
        self._groups = groups
        self._constants: dict[Id, np.ndarray] = {}
        self._lists: dict[Id, list[Id]] = {}

    def convert(self, op: Op) -> list[Step]:
        """Return the steps of an operator: one, or none where it only makes a constant or a list."""
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
        """Facts about a value before the network runs."""
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
        """Return a sum or product, with a constant of one entry or one a channel or with something computed."""
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
    """Return a constant operand as one entry, or as one for each channel on axis 1."""
    aligned = constant.reshape((1,) * (value.rank - constant.ndim) + constant.shape)
    fits = constant.size == 1 or (aligned.ndim == value.rank == 4 and aligned.size == aligned.shape[1])
    if not fits or op.outputs[0].shape != value.shape:
        raise LoweringError(f"{op}: a constant of shape {list(constant.shape)} is not known to the runtime")
    return constant.reshape(-1)


def _expect(op: Op, **settings: str) -> None:
    for name, value in settings.items():
        if op.attributes.get(name, value) != value:
            raise LoweringError(f"{op}: {name} {op.attributes[name]} is not known to the runtime, only {value}")
