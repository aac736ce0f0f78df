"""Lowering of the steps of a network's part to a program that Paddle Inference runs with oneDNN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocrslim.formats import ProgramWriter
from ocrslim.inference.compiler.ir import AFFINE, CONSTANT, CONV, Activation, Id, Step

_ONEDNN = {"matmul_v2", "softmax", "layer_norm"}  # operators that are passed through and faster with it


@dataclass(frozen=True)
class Lowered:
    """A part of a network ready for Paddle Inference.

    Attributes:
        program: content of a `.pdmodel`.
        parameters: content of its `.pdiparams`.
        inputs: ids of the values to feed, in order.
        outputs: ids of the values that come out, in order.
    """

    program: bytes
    parameters: bytes
    inputs: tuple[Id, ...]
    outputs: tuple[Id, ...]


def lower(steps: Sequence[Step], inputs: Sequence[Id], outputs: Sequence[Id]) -> Lowered:
    """Write `steps` as a program, for inputs of any size."""
    writer = ProgramWriter()
    for value in inputs:
        writer.feed(name_of(value))
    for step in steps:
        _write(writer, step)
    for value in outputs:
        writer.fetch(name_of(value))
    return Lowered(writer.program(), writer.parameters(), tuple(inputs), tuple(outputs))


def name_of(value: Id) -> str:
    """Return the name of a value in the program."""
    return f"value_{value}"


def _write(writer: ProgramWriter, step: Step) -> None:
    if step.convolves:
        _write_convolution(writer, step)
    elif step.kind == CONSTANT:
        writer.parameter(step.attributes["value"], name_of(step.output))
    elif step.passed:
        _write_passed(writer, step)
    elif step.kind == AFFINE:
        _write_affine(writer, step)
    else:
        _write_plain(writer, step.kind, step.inputs, step)


def _write_plain(writer: ProgramWriter, kind: str, inputs: Sequence[Id], step: Step) -> None:
    slots = {"X": [name_of(value) for value in inputs]}
    if kind.startswith("elementwise_"):
        slots = {"X": [name_of(inputs[0])], "Y": [name_of(inputs[1])]}
    settings = {**step.attributes, "use_mkldnn": _agrees(kind, step.attributes)}
    writer.op(kind, slots, {"Out": [name_of(step.output)]}, settings)


def _write_passed(writer: ProgramWriter, step: Step) -> None:
    slots: dict[str, list[str]] = {}
    for slot, value in zip(step.slots, step.inputs):
        slots.setdefault(slot, []).append(name_of(value))
    results: dict[str, list[str]] = {}
    for slot, value in zip(step.results, (step.output, *step.others)):
        results.setdefault(slot, []).append(name_of(value))
    settings = {name: value for name, value in step.attributes.items() if value != []}  # of no known type
    # of two computed matrices oneDNN takes the wrong entries where a map was in blocks of channels
    computed = step.kind == "matmul_v2" and not writer.has_parameter(slots["Y"][0])
    onednn = step.kind in _ONEDNN and not computed
    writer.op(step.kind, slots, results, {**settings, "use_mkldnn": onednn})


def _agrees(kind: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether oneDNN's kernel gives what Paddle's own does; measured, as it ignores some settings."""
    if kind.endswith("_interp_v2"):
        if kind.startswith("nearest"):
            return not settings["align_corners"] and all(factor.is_integer() for factor in settings["scale"])
        # where weights are sums of powers of two: oneDNN rounds the others, which shows in the fifth digit
        exact = all(math.frexp(factor)[0] == 0.5 for factor in settings["scale"])
        return not settings["align_corners"] and settings["align_mode"] == 0 and exact
    if kind == "pool2d":
        uneven = settings["adaptive"] and settings["ksize"] != [1, 1]
        return not uneven and (settings["exclusive"] or not settings["ceil_mode"])
    return True


def _write_affine(writer: ProgramWriter, step: Step) -> None:
    """One factor and shift for all channels, or a depthwise convolution of one pixel."""
    scale, shift = step.attributes["scale"], step.attributes["shift"]
    if scale.size == shift.size == 1:
        settings = {"scale": float(scale[0]), "bias": float(shift[0]), "bias_after_scale": True}
        _write_plain(writer, "scale", step.inputs, Step("scale", step.inputs, step.output, settings))
        return
    channels = max(scale.size, shift.size)
    weight = np.broadcast_to(scale, (channels,)).reshape(channels, 1, 1, 1)
    ones = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": channels}
    bias = np.broadcast_to(shift, (channels,))
    _write_convolution(writer, Step(CONV, step.inputs, step.output, ones, weight, bias))


def _write_convolution(writer: ProgramWriter, step: Step) -> None:
    assert step.weight is not None
    slots = {"Input": [name_of(step.inputs[0])], "Filter": [writer.parameter(step.weight)]}
    if step.bias is not None:
        slots["Bias"] = [writer.parameter(step.bias)]
    settings = {"padding_algorithm": "EXPLICIT", "data_format": "NCHW", **step.attributes}
    settings |= {"use_mkldnn": True, "is_test": True}
    if len(step.inputs) == 2:
        slots["ResidualData"] = [name_of(step.inputs[1])]
        settings["fuse_residual_connection"] = True
    if step.activation is not None:
        settings |= _fused(step.activation)
    if step.kind == CONV:
        kind = "fused_conv2d"
    else:
        kind = "conv2d_transpose" if step.bias is None else "conv2d_transpose_bias"
        settings["output_size"] = []
    writer.op(kind, slots, {"Output": [name_of(step.output)]}, settings)


def _fused(activation: Activation) -> dict[str, object]:
    """Return the attributes of a convolution that applies an activation (oneDNN's alpha and beta)."""
    given = activation.attributes
    alpha, beta = {
        "hard_swish": (1 / 6, 0.5),
        "hard_sigmoid": (given.get("slope", 0.0), given.get("offset", 0.0)),
        "leaky_relu": (given.get("alpha", 0.0), 0.0),
        "swish": (given.get("beta", 1.0), 0.0),
        "relu6": (0.0, 6.0),
    }.get(activation.name, (0.0, 0.0))
    name = ("gelu_tanh" if given["approximate"] else "gelu_erf") if activation.name == "gelu" else activation.name
    return {"fuse_activation": name, "fuse_alpha": float(alpha), "fuse_beta": float(beta)}
