"""Steps as a program of ordinary operators, which any runtime executes.

Steps that algebra may have changed are written anew. Whatever was passed through as it is stays the operator that it
was, with the constants, lists and shapes that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ocrslim.graph import Op, Program, Value
from ocrslim.inference.compiler.ir import (
    ACTIVATIONS,
    ADD,
    AFFINE,
    CONCAT,
    CONV,
    DECONV,
    MULTIPLY,
    NEAREST,
    SHUFFLE,
    Activation,
    Id,
    Step,
    out_channels,
)

_TRACED = {**{name: traced for traced, name in ACTIVATIONS.items()}, "swish": "swish"}
_SETTINGS = {"alpha": "negative_slope", "slope": "slope", "offset": "offset", "approximate": "approximate"}
_LAMBDA = {"mish": {"threshold": "lambda"}}


def to_program(
    steps: Sequence[Step], source: Program, arrays: Mapping[str, np.ndarray], names: Mapping[Id, Id]
) -> tuple[Program, dict[str, np.ndarray]]:
    """Return a program that computes the outputs of `source` by `steps`, and its arrays, in single precision.

    Args:
        steps: of `source`, rewritten.
        source: what they were made of.
        arrays: its parameters and buffers by state-dict key.
        names: values of `source` -> the value that they are in `steps`, where it has another name there.
    """
    writer = _Writer(source, names)
    for step in steps:
        writer.add(step)
    known = {**arrays, **writer.arrays}
    ops = [_with_shapes(op, known) for op in writer.needed(value.id for value in source.outputs)]
    used = {value.parameter for op in ops for value in op.values()}
    return Program(ops, source.inputs, source.outputs), {key: _single(known[key]) for key in known if key in used}


def _with_shapes(op: Op, arrays: Mapping[str, np.ndarray]) -> Op:
    """Return the operator with its parameters' shapes as they are: those of the source may be of before a cut.

    What is called a parameter and has no array, such as the state of a recurrent layer's dropout, is left out.
    """

    def shaped(value: Value | None) -> Value | None:
        if value is None or value.parameter is None:
            return value
        array = arrays.get(value.parameter)
        return None if array is None else replace(value, shape=array.shape)

    return replace(op, inputs={name: shaped(value) for name, value in op.inputs.items()})


def _value(key: Id, shape: tuple[int, ...] | None, parameter: str | None = None) -> Value:
    return Value(cast(int, key), shape, parameter)  # the id of a step's value may be any


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


class _Writer:
    """Collects operators by the values that they make."""

    def __init__(self, source: Program, names: Mapping[Id, Id]):
        self.arrays: dict[str, np.ndarray] = {}
        self._named: dict[str, int] = {}  # layers of each name
        self._values: dict[Id, Value] = {value.id: value for value in source.inputs}
        self._makers: dict[Id, Op] = {}
        for op in source.ops:
            self._values.update((value.id, value) for value in (*op.values(), *op.outputs))
            if op.name != "data":  # an input
                self._makers.update((value.id, op) for value in op.outputs)
        for original, name in names.items():  # a part of a list has a name of its own in the steps
            self._values.setdefault(name, self._values[original])

    def add(self, step: Step) -> None:
        """Write a step, unless it is an operator of the source as it was."""
        write = None if step.passed else _WRITERS.get(step.kind)
        if write is not None:
            write(self, step)

    def needed(self, outputs: Iterable[Id]) -> list[Op]:
        """Return the operators that lead to `outputs`, in an order in which they can run."""
        found: dict[int, Op] = {}
        waiting: list[tuple[Op, bool]] = [(self._makers[value], False) for value in outputs if value in self._makers]
        waiting.reverse()
        while waiting:
            op, ready = waiting.pop()
            if ready:
                found.setdefault(id(op), op)
            elif id(op) not in found:
                before = [self._makers[value.id] for value in op.values() if value.id in self._makers]
                waiting += [(op, True), *((one, False) for one in reversed(before) if id(one) not in found)]
        return list(found.values())

    def op(self, name: str, inputs: Mapping[str, Value], output: Value, **attributes: Any) -> Value:
        """Write an operator; return its output."""
        self._makers[output.id] = Op(name, dict(inputs), [output], attributes)
        return output

    def value(self, key: Id, channels: int = -1) -> Value:
        """Return a value by its id: a map of `channels`, where it is new."""
        return self._values.setdefault(key, _value(key, (-1, channels, -1, -1)))

    def made(self, key: Id, channels: int) -> Value:
        """Return the value that a step makes, with the channels it has now."""
        self._values[key] = _value(key, (-1, channels, -1, -1))
        return self._values[key]

    def free_name(self, name: str) -> str:
        """Return the name of a layer, with a number where there is one of that name."""
        number = self._named[name] = self._named.get(name, 0) + 1
        return name if number == 1 else f"{name}_{number}"

    def parameter(self, key: str, array: np.ndarray) -> Value:
        """Return a parameter, called `key`."""
        self.arrays[key] = array
        return _value(key, array.shape, key)


def _convolution(writer: _Writer, step: Step) -> None:
    """A convolution, then what it has taken in: its bias, a sum and an activation."""
    assert step.weight is not None
    channels, name = out_channels(step), writer.free_name(step.name.rpartition(".")[0] or "rewritten")
    tail: list[Callable[[Value, Value], None]] = []
    if step.bias is not None:
        bias = writer.parameter(f"{name}.b_0", np.array(step.bias))
        shaped = _value(f"{step.output}.bias", (1, channels, 1, 1))
        writer.op("reshape", {"x": bias}, shaped, shape=[1, channels, 1, 1])
        tail.append(lambda x, out: _pair(writer, "add", x, shaped, out))
    if len(step.inputs) == 2:
        other = writer.value(step.inputs[1], channels)
        tail.append(lambda x, out: _pair(writer, "add", x, other, out))
    activation = step.activation
    if activation is not None:
        tail.append(lambda x, out: _activate(writer, activation, x, out))
    values = [writer.made(f"{step.output}.{place}.tail", channels) for place in range(len(tail))]
    values.append(writer.made(step.output, channels))
    weight = writer.parameter(f"{name}.w_0", step.weight)
    settings = {"padding_algorithm": "EXPLICIT", **step.attributes, "data_format": "NCHW"}
    argument = "input" if step.kind == CONV else "x"
    writer.op(step.kind, {argument: writer.value(step.inputs[0]), "filter": weight}, values[0], **settings)
    for write, before, after in zip(tail, values, values[1:]):
        write(before, after)


def _pair(writer: _Writer, name: str, x: Value, y: Value, out: Value) -> None:
    writer.op(name, {"x": x, "y": y}, out)


def _activate(writer: _Writer, activation: Activation, x: Value, out: Value) -> None:
    names = _LAMBDA.get(activation.name, _SETTINGS)
    settings = {names[name]: value for name, value in activation.attributes.items() if name in names}
    writer.op(_TRACED[activation.name], {"x": x}, out, **settings)


def _activation(writer: _Writer, step: Step) -> None:
    x = writer.value(step.inputs[0])
    _activate(writer, Activation(step.kind, step.attributes), x, _like(writer, step, x))


def _like(writer: _Writer, step: Step, x: Value) -> Value:
    """Return the output of a step that leaves the shape as it is."""
    known = writer.value(step.output)
    if x.shape is not None and len(x.shape) == 4 and known.rank == 4:
        return writer.made(step.output, x.shape[1])
    return known


def _arithmetic(writer: _Writer, step: Step) -> None:
    x, y = map(writer.value, step.inputs)
    name = {ADD: "add", MULTIPLY: "multiply"}[step.kind]
    _pair(writer, name, x, y, _like(writer, step, x))


def _affine(writer: _Writer, step: Step) -> None:
    """One factor and summand for all channels, or a depthwise convolution of one pixel."""
    scale, shift = step.attributes["scale"], step.attributes["shift"]
    if scale.size == shift.size == 1:
        x = writer.value(step.inputs[0])
        numbers = {"scale": float(scale[0]), "bias": float(shift[0]), "bias_after_scale": True}
        writer.op("scale", {"x": x}, _like(writer, step, x), **numbers)
        return
    channels = max(scale.size, shift.size)
    weight = np.broadcast_to(scale, (channels,)).reshape(channels, 1, 1, 1)
    ones = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": channels}
    bias = np.broadcast_to(shift, (channels,))
    _convolution(writer, Step(CONV, step.inputs, step.output, ones, weight, bias))


def _concat(writer: _Writer, step: Step) -> None:
    parts = {str(place): writer.value(key) for place, key in enumerate(step.inputs)}
    widths = [(value.shape or (-1,) * 4)[1] for value in parts.values()]
    listed = _value(f"{step.output}.list", None)
    writer.op("combine", parts, listed)
    known = min(widths) > 0 and step.attributes["axis"] == 1
    output = writer.made(step.output, sum(widths)) if known else writer.value(step.output)
    writer.op("concat", {"x": listed}, output, axis=step.attributes["axis"])


def _upsampling(writer: _Writer, step: Step) -> None:
    x = writer.value(step.inputs[0])
    names = ("align_corners", "align_mode", "scale")
    settings = {name: step.attributes[name] for name in names}
    writer.op("nearest_interp", {"x": x}, _like(writer, step, x), **settings, data_format="NCHW")


def _shuffle(writer: _Writer, step: Step) -> None:
    """Channels put in place as pixels; of a single map by transposing, as some clients have no operator for it.

    A reshape keeps (0) or computes (-1) a single size by itself, so that height and width grow one after the other.
    """
    factor, x = step.attributes["upscale_factor"], writer.value(step.inputs[0])
    channels = (x.shape or (-1, 0))[1] // factor**2
    output = writer.made(step.output, channels)
    if channels != 1:
        writer.op("pixel_shuffle", {"x": x}, output, **step.attributes)
        return
    free = -1
    moves: tuple[tuple[str, str, list[int], tuple[int, ...]], ...] = (
        ("transpose", "perm", [0, 2, 3, 1], (free, free, free, factor**2)),
        ("reshape", "shape", [0, 0, 0, factor, factor], (free, free, free, factor, factor)),
        ("transpose", "perm", [0, 1, 3, 2, 4], (free, free, factor, free, factor)),
        ("reshape", "shape", [0, 0, 0, -1], (free, free, factor, free)),
    )
    for place, (name, argument, numbers, shape) in enumerate(moves):
        made = _value(f"{step.output}.{place}.move", shape)
        x = writer.op(name, {"x": x}, made, **{argument: numbers})
    writer.op("reshape", {"x": x}, output, shape=[0, 1, -1, 0])


_WRITERS: Mapping[str, Callable[[_Writer, Step], None]] = {
    **dict.fromkeys((CONV, DECONV), _convolution),
    **dict.fromkeys((ADD, MULTIPLY), _arithmetic),
    **dict.fromkeys(ACTIVATIONS.values(), _activation),
    AFFINE: _affine,
    CONCAT: _concat,
    NEAREST: _upsampling,
    SHUFFLE: _shuffle,
}
