"""Operators and values of Paddle's program representation (PIR) as ours: the only file that knows that one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ocrslim.graph.program import Op, Value

_NAMES = {"builtin.split": "builtin_split", "builtin.slice": "builtin_slice"}
_CONSTANTS = ("pd_op.full", "pd_op.full_int_array")
_SOURCES = ("builtin.parameter", "builtin.constant")
_NOT_KEPT = {"op_callstack", "struct_name", "stop_gradient", "place"}


class PirReader:
    """Reads one program; what it makes does not refer to Paddle's objects."""

    def __init__(self, keys: Mapping[str, str], depth: int = 0):
        """
        Args:
            keys: Paddle's name of each parameter and buffer -> state-dict key.
            depth: how many layers around the network are none of its own.
        """
        self._keys, self._depth = keys, depth
        self._constants: dict[int, Any] = {}
        self._parameters: dict[int, str] = {}

    def ops(self, block: Any) -> Iterator[Op]:
        """Yield the operators of a block, parameters aside."""
        for op in block.ops:
            if op.name() in _SOURCES:
                self._remember_parameter(op)
                continue
            if op.name() in _CONSTANTS:
                self._constants[op.results()[0].id] = op.attrs()["value"]
            yield self._op(op)

    def value(self, value: Any) -> Value:
        """Return one value; a parameter by its state-dict key."""
        try:
            shape = None if value.is_combine() else tuple(value.shape)
        except (AttributeError, ValueError):  # no tensor: what somebody's own operator keeps for itself
            shape = None
        return Value(value.id, shape, self._parameters.get(value.id))

    def _remember_parameter(self, op: Any) -> None:
        name = op.attrs().get("parameter_name")
        if name in self._keys:
            self._parameters[op.results()[0].id] = self._keys[name]

    def _op(self, op: Any) -> Op:
        operands = op.operands_source()
        try:
            names = op.get_input_names()
        except ValueError:
            names = []
        if len(names) != len(operands):
            names = [str(i) for i in range(len(operands))]
        given = {n: v if v is not None and v.initialized() else None for n, v in zip(names, operands)}
        attributes = op.attrs()
        if "dtype" in attributes:  # an object of Paddle's, which cannot be pickled
            attributes["dtype"] = str(attributes["dtype"]).rpartition(".")[2].lower()
        constants = {n: self._constants[v.id] for n, v in given.items() if v is not None and v.id in self._constants}
        return Op(
            name=_name(op.name()),
            inputs={n: None if v is None else self.value(v) for n, v in given.items()},
            outputs=[self.value(v) for v in op.results()],
            attributes={**{n: v for n, v in attributes.items() if n not in _NOT_KEPT}, **constants},
            captured=[self.value(v) for v in _captured(op)],
            layer=self._place(attributes.get("struct_name", "")),
        )

    def _place(self, path: str) -> str:
        """Return the classes of the layers around an operator, as `/`-separated path."""
        classes = re.sub(r"_\d+(?=/|$)", "", path.strip("/")).split("/")
        return "/".join(classes[self._depth :])


def _name(name: str) -> str:
    dialect, _, own = name.partition(".")
    if dialect not in ("pd_op", "builtin"):
        return name  # somebody's own operator: it may be called as one of Paddle's
    return _NAMES.get(name, own.rstrip("_"))


def _captured(op: Any) -> Iterator[Any]:
    """Values that the blocks of an operator use, made inside or outside of them."""
    for block in op.blocks():
        for inner in block.ops:
            yield from (v for v in inner.operands_source() if v is not None and v.initialized())
            yield from _captured(inner)
