"""A program of version 3 (`.json`, PIR) with parameters of other shapes: the same operators, names and attributes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.free_shapes import free_channels
from ocrslim.formats.programs.pir_program import PirProgram
from ocrslim.formats.programs.tensor_shapes import Shape

_CONVOLUTIONS = ("1.conv2d", "1.depthwise_conv2d")
_TRANSPOSED = ("1.conv2d_transpose", "1.depthwise_conv2d_transpose")
_MAPS = ("1.pool2d", "1.nearest_interp", "1.bilinear_interp", "1.bicubic_interp", "1.pad3d")
_FREE = -1

Operation = dict[str, Any]


def patched_pir(program: PirProgram, shapes: Mapping[str, Shape], groups: Mapping[str, int]) -> bytes:
    """Return the content of a `.json` whose parameters have new `shapes`, the others theirs.

    Beside the parameters, groups of convolutions change, and numbers in the shapes that values behind them are reshaped
    to. The shapes of the values are known where channels can be told from the weights, and free elsewhere: Paddle
    believes them, and fuses layers by them.

    Args:
        groups: of a convolution, by its weight.

    Raises:
        FormatFault: a number that has to change is used for something else as well.
    """
    tree = copy.deepcopy(program.tree)
    patch = _Patch(PirProgram.of(tree).operations, shapes)
    for operation in patch.operations:
        patch.apply(operation, groups)
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


class _Patch:
    """The operations of a program, edited one by one in their order."""

    def __init__(self, operations: Sequence[Operation], shapes: Mapping[str, Shape]):
        self.operations = operations
        self._names: dict[int, str] = {}
        self._before: dict[int, Shape] = {}
        self._makers: dict[int, Operation] = {}
        self._uses: dict[int, int] = {}
        self._behind: set[int] = set()  # values that are computed with parameters that change
        for operation in operations:
            for value, described in _made(operation):
                self._before[value], self._makers[value] = _dims(described), operation
            for value in _read(operation):
                self._uses[value] = self._uses.get(value, 0) + 1
            if operation["#"] == "p":
                self._set_parameter(operation, shapes)
        self._now = dict(self._before)
        for value in self._behind:
            self._now[value] = tuple(shapes[self._names[value]])

    def _set_parameter(self, operation: Operation, shapes: Mapping[str, Shape]) -> None:
        ((value, described),) = _made(operation)
        name = self._names[value] = next(entry for entry in operation["A"] if isinstance(entry, str))
        if name in shapes and tuple(shapes[name]) != self._before[value]:
            self._behind.add(value)
            described["D"][1] = list(shapes[name])

    def apply(self, operation: Operation, groups: Mapping[str, int]) -> None:
        """Edit one operation, if it is behind a change."""
        read = _read(operation)
        if self._behind.isdisjoint(read):
            return
        kind = operation["#"]
        if kind in (*_CONVOLUTIONS, *_TRANSPOSED) and (name := self._names.get(read[1])) in groups:
            _attribute(operation, "groups")["D"] = groups[name or ""]
        sizes = self._free(read) if kind == "1.reshape" else None
        if kind == "1.rnn":
            self._resize(operation)
        for place, (value, described) in enumerate(_made(operation)):
            self._behind.add(value)
            self._now[value] = self._shape(operation, place, sizes)
            _set_dims(described, self._now[value])
        if kind == "0.combine":
            self._set_parts(operation)

    # -- shapes of values --------------------------------------------------------------------------------------------

    def _shape(self, operation: Operation, place: int, sizes: Sequence[int | None] | None) -> Shape:
        """Return the shape of an output: known from weights, as that of an input, or free but for its first axis."""
        kind, read = operation["#"], _read(operation)
        old = self._before[_made(operation)[place][0]]
        alike = [value for value in read if value and self._before[value] == old and value in self._behind]
        if kind in (*_CONVOLUTIONS, *_TRANSPOSED):
            weight = self._now[read[1]]
            made = weight[0] if kind in _CONVOLUTIONS else weight[1] * _attribute(operation, "groups")["D"]
            return (old[0], made, *old[2:])
        if kind == "1.matmul" and read[1] in self._names and len(self._now[read[1]]) == 2:
            turned = bool(_attribute(operation, "transpose_y")["D"])
            return (*old[:-1], self._now[read[1]][0 if turned else 1])
        if kind in _MAPS and read[0] in self._behind and len(old) == 4:
            return (old[0], self._now[read[0]][1], *old[2:])
        if sizes is not None:
            return self._reshaped(read[0], old, sizes)
        return self._now[alike[0]] if alike else _freed(old)

    def _reshaped(self, source: int, old: Shape, sizes: Sequence[int | None]) -> Shape:
        """Return what a reshape makes: of a vector, exactly; of other values, free where it follows the channels."""
        if len(self._now[source]) == 1:
            return tuple(self._now[source][0] if size == _FREE else int(size or 1) for size in sizes)
        return tuple(one if size is not None and size > 0 else _FREE for one, size in zip(old, sizes))

    # -- numbers in shapes -------------------------------------------------------------------------------------------

    def _free(self, read: Sequence[int]) -> Sequence[int | None] | None:
        """Let the shape that a reshape reads follow the channels; return it, None where all of it is computed."""
        maker = self._makers[read[1]]
        if maker["#"] == "1.full_int_array":
            entries = _attribute(maker, "value")["D"]
            numbers: list[int | None] = [entry["D"] for entry in entries]
            sizes = free_channels(self._before[read[0]], numbers)
            self._set_numbers(read[1:2], entries, numbers, sizes)
            return sizes
        parts = self._items(read[1])
        if not parts:
            return None
        fulls = [self._makers[part] if self._makers[part]["#"] == "1.full" else None for part in parts]
        values = [None if full is None else _attribute(full, "value") for full in fulls]
        numbers = [None if value is None else int(value["D"]) for value in values]
        sizes = free_channels(self._before[read[0]], numbers)
        self._set_numbers(parts, values, numbers, sizes)
        return sizes

    def _items(self, value: int) -> list[int]:
        """Return the values that a shape is put together from; none where it is computed in another way."""
        maker = self._makers[value]
        if maker["#"] == "1.stack":
            maker = self._makers[_read(maker)[0]]
        return _read(maker) if maker["#"] == "0.combine" else []

    def _resize(self, operation: Operation) -> None:
        """Let a recurrent layer's sizes be those of its weights, also that of its first states."""
        _, states, weights, *_ = _read(operation)
        (_, read), (_, units) = (self._now[value] for value in self._items(weights)[:2])
        before = _attribute(operation, "hidden_size")["D"]
        _attribute(operation, "input_size")["D"], _attribute(operation, "hidden_size")["D"] = read, units
        for state in self._items(states) if units != before else ():
            maker = self._makers[state]
            sizes = self._items(_read(maker)[1]) if maker["#"] == "1.full_with_tensor" else []
            size = self._makers[sizes[-1]] if sizes else {"#": ""}
            if size["#"] != "1.full" or int(_attribute(size, "value")["D"]) != before:
                raise FormatFault("the size of its first state is not that of a recurrent layer")
            self._set_numbers(sizes[-1:], [_attribute(size, "value")], [before], [units])
            self._now[state] = (*self._before[state][:-1], units)
            for value, described in _made(maker):
                _set_dims(described, self._now[value])
        self._set_parts(self._makers[states])

    def _set_parts(self, combine: Operation) -> None:
        """Let the types in a list be those of its values."""
        for value, described in zip(_read(combine), combine["O"][0]["TT"]["D"]):
            _set_dims(described, self._now[value])

    def _set_numbers(
        self,
        values: Sequence[int],
        entries: Sequence[Any],
        numbers: Sequence[int | None],
        sizes: Sequence[int | None],
    ) -> None:
        """Write `sizes` over the constants `numbers`, which `entries` hold."""
        for place, (entry, number, size) in enumerate(zip(entries, numbers, sizes)):
            if entry is None or size is None or size == number:
                continue
            if self._uses[values[min(place, len(values) - 1)]] > 1:
                raise FormatFault(f"the number {number} is a size of several shapes at once")
            entry["D"] = type(entry["D"])(size)


def _made(operation: Operation) -> list[tuple[int, Any]]:
    """Return the values that an operation makes, and their types; those that are left out, and lists, have none."""
    made = operation["O"] if isinstance(operation["O"], list) else [operation["O"]]
    return [(result["%"], result["TT"]) for result in made if result["%"]]


def _read(operation: Operation) -> list[int]:
    """Return the values that an operation reads; 0 stands for one that is left out."""
    return [argument["%"] for argument in operation.get("I", [])]


def _dims(described: Any) -> Shape:
    return tuple(described["D"][1]) if described["#"] == "0.t_dtensor" else ()


def _set_dims(described: Any, shape: Shape) -> None:
    if described["#"] == "0.t_dtensor":
        described["D"][1] = list(shape)


def _freed(shape: Shape) -> Shape:
    return tuple(size if axis == 0 or size == 1 else _FREE for axis, size in enumerate(shape))


def _attribute(operation: Operation, name: str) -> Any:
    for attribute in operation["A"]:
        if attribute["N"] == name:
            return attribute["AT"]
    raise FormatFault(f"{operation['#']} lacks its attribute {name}")
