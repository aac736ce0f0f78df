"""Programs without numbers of channels in the shapes that they reshape to, so that the shapes follow a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ocrslim.formats import free_channels
from ocrslim.graph import Op, Program, Value

_CONSTANTS = ("full", "full_with_tensor", "full_batch_size_like")


def with_free_shapes(program: Program) -> Program:
    """Return the same program with as few numbers in its shapes as can be (`free_channels`).

    Recurrent layers whose first state is zeros, of a size that the file names, have none. Operators that nothing needs
    any more, such as those that read the size of a batch, are left out.
    """
    lists: dict[Any, Sequence[Value]] = {}
    numbers: dict[Any, int] = {}
    zeros: set[Any] = set()
    ops = []
    for op in program.ops:
        if op.name in _CONSTANTS and op.attributes.get("value") == 0:
            zeros.add(op.outputs[0].id)
        if op.name == "combine":
            lists[op.outputs[0].id] = list(op.values())
        elif op.name == "stack" and op["x"].id in lists:
            lists[op.outputs[0].id] = lists[op["x"].id]
        elif op.name == "full" and op.outputs[0].shape in ((), (1,)):
            numbers[op.outputs[0].id] = int(op.attributes["value"])
        elif op.name == "reshape":
            shape = op.inputs.get("shape")
            items = lists.get(shape.id) if shape is not None else None
            computed = None if items is None else [numbers.get(item.id) for item in items]
            op = _reshape(op, op.ints("shape") if "shape" in op.attributes else computed)
        elif op.name == "rnn" and op.inputs.get("pre_state") is not None and _all_in(zeros, lists, op["pre_state"]):
            op = replace(op, inputs={**op.inputs, "pre_state": None})
        ops.append(op)
    return replace(program, ops=_needed(ops, program.outputs))


def _all_in(known: set[Any], lists: Mapping[Any, Sequence[Value]], value: Value) -> bool:
    """Tell whether all values in a list are known ones."""
    return known.issuperset(one.id for one in lists.get(value.id, ()))


def _reshape(op: Op, wanted: Sequence[int | None] | None) -> Op:
    """Return the operator with a constant shape, if all of that can be told."""
    sizes = None if wanted is None else free_channels(op["x"].shape or (), wanted)
    if sizes is None or None in sizes:
        return op
    inputs = {name: value for name, value in op.inputs.items() if name != "shape"}
    return replace(op, inputs=inputs, attributes={**op.attributes, "shape": sizes})


def _needed(ops: Sequence[Op], outputs: Sequence[Value]) -> list[Op]:
    """Return the operators that lead to `outputs`."""
    wanted = {value.id for value in outputs}
    found = []
    for op in reversed(ops):
        if any(value.id in wanted for value in op.outputs):
            found.append(op)
            wanted.update(value.id for value in op.values())
    return found[::-1]
