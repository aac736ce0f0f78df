"""The end of a program: what its last layers read, and what a softmax at the end is taken of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocrslim.graph.program import Op, Program, Value

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_SHAPES = ("shape", "shape64")


def without_softmax(program: Program) -> list[Value]:
    """Return the outputs of a program, of each that is a softmax over its last axis what that is taken of.

    PaddleOCR's heads give such logits in training, and their softmax in inference.
    """
    makers = _makers(program)
    return [_logits(value, makers) for value in program.outputs]


def _logits(output: Value, makers: Mapping[Any, Op]) -> Value:
    value = output
    while (op := makers.get(value.id)) is not None and _changes_nothing(op):
        value = op["x"]
    if op is None or op.name != "softmax" or op.axis(op["x"]) != op["x"].rank - 1:
        return output
    return op["x"]


def _changes_nothing(op: Op) -> bool:
    if op.name == "scale":  # exports of Paddle 1 and 2 end in one
        return op.attributes.get("scale") == 1 and not op.attributes.get("bias")
    return op.name == "assign"


def tail_readers(program: Program, output: Value) -> list[tuple[str, int]]:
    """Return the layers that `output` has passed through, one after the other, the last one first.

    The way back from the output ends where several values come together, such as the levels of a pyramid.

    Returns:
        of each convolution and each linear layer the parameter and its axis that reads channels. Convolutions with
        groups and transposed ones are passed by.
    """
    makers, depending = _makers(program), _depending(program)
    found = []
    value = output
    while (op := makers.get(value.id)) is not None:
        read = {one.id: one for one in op.values() if one.id in depending}
        if len(read) != 1:
            break
        (value,) = read.values()
        reader = _reader(op)
        if reader is not None:
            found.append(reader)
    return found


def _reader(op: Op) -> tuple[str, int] | None:
    if op.name in _CONVOLUTIONS and int(op.attributes.get("groups") or 1) == 1:
        key, axis = op["filter"].parameter, 1
    elif op.name == "matmul" and op["y"].rank == 2 and not _turned(op):
        key, axis = op["y"].parameter, 0
    else:
        return None
    return None if key is None else (key, axis)


def _turned(op: Op) -> bool:
    return any(op.attributes.get(name) for name in ("transpose_x", "transpose_y"))


def _makers(program: Program) -> dict[Any, Op]:
    return {value.id: op for op in program.ops for value in op.outputs}


def _depending(program: Program) -> set[Any]:
    """Return the ids of the values that depend on the input, and not on its shape alone."""
    found = {value.id for value in program.inputs}
    for op in program.ops:
        if op.name not in _SHAPES and found.intersection(value.id for value in op.values()):
            found.update(value.id for value in op.outputs)
    return found
