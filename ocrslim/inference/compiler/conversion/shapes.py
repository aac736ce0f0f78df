"""Operators that arrange the same numbers anew: reshapes, splits, concatenations, casts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ocrslim.formats import free_channels
from ocrslim.graph import Op
from ocrslim.inference.compiler.conversion.passed import data_type, passed
from ocrslim.inference.compiler.conversion.values import Values
from ocrslim.inference.compiler.ir import CONCAT, CONSTANT, Id, Step


def reshape(values: Values, op: Op) -> Step | list[Step] | None:
    """Return another shape of the same numbers; of a constant, a constant."""
    constant = values.constant(op["x"])
    if constant is not None:
        values.reshape_constant(op, constant)
        return None
    source, target = op["x"], op.outputs[0].id
    if "shape" in op.attributes:
        sizes = free_channels(source.shape or (), op.ints("shape"))
        return _reshaped(source.id, target, {"shape": sizes})
    shape = values.names.get(op["shape"].id, op["shape"].id)
    parts: list[Id] = list(values.stacked.get(shape) or values.lists.get(shape) or [])
    if not parts:
        return _reshaped(source.id, target, {}, shape)
    numbers = [values.constants.get(part) for part in parts]
    sizes = free_channels(source.shape or (), [None if n is None else int(n) for n in numbers])
    steps = []
    for place, size in enumerate(sizes):
        if size is not None:
            parts[place] = f"{target}.{place}"
            steps.append(Step(CONSTANT, (), parts[place], {"value": np.array(size)}))
    stack = Step("stack", tuple(parts), f"{target}.shape", {"axis": 0}, slots=("X",) * len(parts), results=("Y",))
    return [*steps, stack, _reshaped(source.id, target, {}, stack.output)]


def stack(values: Values, op: Op) -> Step:
    """Return values as one, along a new axis: mostly the sizes of a shape."""
    values.stacked[op.outputs[0].id] = list(values.lists[op["x"].id])
    return passed(op, values.lists)


def split(values: Values, op: Op) -> Step:
    """Return the parts of a value, by number or by sizes; equal ones stay equal when they are pruned."""
    source, target = next(op.values()), op.outputs[0].id
    sections = op.ints("sections", [])
    axis = op.axis(source, 0)
    number = int(op.attributes.get("num", 0)) or len(sections) or (source.shape or ())[axis]
    settings: dict[str, Any] = {"axis": axis}
    kind = op.name
    if kind != "unbind":
        kind, equal = "split", len(set(sections)) < 2
        settings["num" if equal else "sections"] = number if equal else sections
    parts = values.lists[target] = [f"{target}.{place}" for place in range(number)]
    results = ("Out",) * number
    return Step(kind, (source.id,), parts[0], settings, slots=("X",), results=results, others=tuple(parts[1:]))


def concat(values: Values, op: Op) -> Step:
    """Return the values of a list, one behind the other along an axis."""
    inputs, target = tuple(values.lists[op["x"].id]), op.outputs[0]
    slots = () if target.rank == 4 else ("X",) * len(inputs)
    return Step(CONCAT, inputs, target.id, {"axis": op.axis(target)}, slots=slots)


def cast(values: Values, op: Op) -> Step:
    """Return the same numbers in another type."""
    settings = {"in_dtype": data_type(op), "out_dtype": data_type(op)}
    return Step("cast", (op["x"].id,), op.outputs[0].id, settings, slots=("X",))


def _reshaped(source: Id, target: Id, settings: Mapping[str, Any], shape: Id | None = None) -> Step:
    inputs, slots = ((source,), ("X",)) if shape is None else ((source, shape), ("X", "Shape"))
    others = (f"{target}.XShape",)
    return Step("reshape2", inputs, target, settings, slots=slots, results=("Out", "XShape"), others=others)
