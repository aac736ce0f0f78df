"""Operators that make constants and lists, and that arrange entries in other shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle.nn import functional as F

from ocrslim.graph import Op
from ocrslim.models.imported.operators.table import Arguments, first, operator


@operator("full")
def _full(op: Op, given: Arguments) -> Any:
    return paddle.full(op.ints("shape"), op.attributes["value"], op.attributes["dtype"])


@operator("full_int_array")
def _full_int_array(op: Op, given: Arguments) -> Any:
    return paddle.to_tensor(op.ints("value"), op.attributes["dtype"])


@operator("full_like")
def _full_like(op: Op, given: Arguments) -> Any:
    dtype = op.attributes.get("dtype", "undefined")
    value = op.attributes.get("value", given.get("value"))
    return paddle.full_like(given["x"], value, None if dtype == "undefined" else dtype)


@operator("assign_value")
def _assign_value(op: Op, given: Arguments) -> Any:
    return paddle.to_tensor(list(op.attributes["values"]), op.attributes["dtype"]).reshape(op.ints("shape"))


@operator("full_with_tensor")
def _full_with_tensor(op: Op, given: Arguments) -> Any:
    shape = op.attributes.get("shape", given.get("shape"))
    return paddle.full(shape, op.attributes.get("value", given.get("value")), op.attributes["dtype"])


@operator("shape", "shape64")
def _shape(op: Op, given: Arguments) -> Any:
    return paddle.shape(first(given)).astype("int64" if op.name == "shape64" else "int32")


@operator("reshape")
def _reshape(op: Op, given: Arguments) -> Any:
    return paddle.reshape(given["x"], _numbers(op, given, "shape"))


@operator("expand")
def _expand(op: Op, given: Arguments) -> Any:
    return paddle.expand(given["x"], _numbers(op, given, "shape"))


@operator("tile")
def _tile(op: Op, given: Arguments) -> Any:
    return paddle.tile(given["x"], _numbers(op, given, "repeat_times"))


@operator("squeeze")
def _squeeze(op: Op, given: Arguments) -> Any:
    return paddle.squeeze(given["x"], op.ints("axis", []) or None)


@operator("unsqueeze")
def _unsqueeze(op: Op, given: Arguments) -> Any:
    return paddle.unsqueeze(given["x"], op.ints("axis"))


@operator("slice")
def _slice(op: Op, given: Arguments) -> Any:
    ranges = (_numbers(op, given, name) for name in ("starts", "ends"))
    return _dropped(op, paddle.slice(given["input"], op.ints("axes"), *ranges))


@operator("strided_slice")
def _strided_slice(op: Op, given: Arguments) -> Any:
    ranges = (_numbers(op, given, name) for name in ("starts", "ends", "strides"))
    return _dropped(op, paddle.strided_slice(first(given), op.ints("axes"), *ranges))


def _dropped(op: Op, made: Any) -> Any:
    """Without the axes at which one index was taken; older programs keep the axis of a single number."""
    axes = op.ints("decrease_axis", [])
    return paddle.squeeze(made, axes) if axes and made.ndim > op.outputs[0].rank else made


@operator("split")
def _split(op: Op, given: Arguments) -> Any:
    return [paddle.split(given["x"], op.ints("sections"), op.ints("axis", 0)[0])]


@operator("split_with_num")
def _split_evenly(op: Op, given: Arguments) -> Any:
    return [paddle.split(given["x"], int(op.attributes["num"]), op.ints("axis", 0)[0])]


@operator("unbind")
def _unbind(op: Op, given: Arguments) -> Any:
    return [paddle.unbind(first(given), op.ints("axis", 0)[0])]


def _numbers(op: Op, given: Arguments, name: str) -> Any:
    """Return a shape or range: as the program has it, or as it was computed."""
    constant = op.attributes.get(name)
    return given[name] if constant is None else _list_of(constant)


def _list_of(numbers: Any) -> Any:
    return [int(number) for number in numbers] if isinstance(numbers, Sequence) else int(numbers)


@operator("concat")
def _concat(op: Op, given: Arguments) -> Any:
    return paddle.concat(given["x"], op.ints("axis", 0)[0])


@operator("stack")
def _stack(op: Op, given: Arguments) -> Any:
    return paddle.stack(given["x"], op.ints("axis", 0)[0])


@operator("add_n")
def _sum_of_list(op: Op, given: Arguments) -> Any:
    return paddle.add_n(given["inputs"])


@operator("combine")
def _list(op: Op, given: Arguments) -> Any:
    return [list(given.values())]


@operator("builtin_split")
def _all_of_list(op: Op, given: Arguments) -> Any:
    return list(first(given))


@operator("builtin_slice")
def _one_of_list(op: Op, given: Arguments) -> Any:
    return first(given)[int(op.attributes["index"])]


@operator("gather")
def _gather(op: Op, given: Arguments) -> Any:
    return paddle.gather(given["x"], given["index"], op.ints("axis", 0)[0])


@operator("embedding")
def _embedding(op: Op, given: Arguments) -> Any:
    return F.embedding(given["x"], given["weight"])
