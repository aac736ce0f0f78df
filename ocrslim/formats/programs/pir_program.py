"""Paddle's programs of version 3 (`.json`, PIR): read, and checked before Paddle runs one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.operations import PIR_OPERATIONS
from ocrslim.formats.programs.tensor_shapes import Shape, free_shape, image_shape, known_shape
from ocrslim.utils import MIB, parse_json, printable, read_file

MOST_BYTES = 16 * MIB
_PARAMETER, _INPUT, _OUTPUT = "p", "1.data", "1.fetch"
_DATA_TYPES = {
    "bool": "bool",
    "ui8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
}
_INT32, _INT64 = 1 << 31, 1 << 63


@dataclass(frozen=True)
class PirProgram:
    """The operations of a program's one block, as JSON has them, and the whole file, of which they are a part."""

    operations: list[Any]
    tree: Any

    @staticmethod
    def read(path: Path | str) -> PirProgram:
        """Parse the file `path`.

        Raises:
            OSError: it cannot be read.
            FormatFault: it is damaged, or another JSON file.
        """
        try:
            tree = parse_json(read_file(path, MOST_BYTES))
        except ValueError as error:
            raise FormatFault(f"it is truncated or damaged ({printable(error)})") from None
        if _entry(_entry(tree, "base_code"), "magic") != "pir":
            raise FormatFault("it is JSON of something else")
        return PirProgram.of(tree)

    @staticmethod
    def of(tree: Any) -> PirProgram:
        """Return the program in the content of a file; raises FormatFault if it has more than one block."""
        return PirProgram(_only_block(_entry(tree, "program")), tree)

    def parameters(self) -> dict[str, Shape]:
        """Return the shapes of the parameters that have values in the file beside, by name.

        Raises:
            FormatFault: one is damaged.
        """
        found = {}
        for operation in self.operations:
            if _entry(operation, "#") == _PARAMETER and _is_kept(operation):
                name = _parameter_name(operation)
                found[name] = known_shape(name, _tensor(name, _entry(_entry(operation, "O"), "TT"))[1])
        return found

    def check(self) -> Shape:
        """Check that the program is whole and computes tensors alone; return the shape of its input.

        Raises:
            FormatFault: naming the first thing that is not so.
        """
        defined = {0}  # stands for an argument that is left out
        inputs, outputs = [], 0
        for place, operation in enumerate(self.operations):
            kind = _entry(operation, "#")
            name = f"operation {place} ({printable(kind)})"
            if kind != _PARAMETER:
                _check_kind(name, kind)
                _check_arguments(name, operation, defined)
                _check_attributes(name, operation)
            defined |= set(_made(name, operation, defined))
            outputs += kind == _OUTPUT
            if kind == _INPUT:
                made = _list(_entry(operation, "O"), "values")
                if len(made) != 1:
                    raise FormatFault(f"{name} makes {len(made)} values, expected one")
                inputs.append(_entry(made[0], "TT"))
        if len(inputs) != 1 or not outputs:
            raise FormatFault(f"it has {len(inputs)} inputs and {outputs} outputs, expected one image and its map")
        data_type, dims = _tensor("input", inputs[0])
        return image_shape("x", dims, data_type)


def _entry(holder: Any, key: str) -> Any:
    if not isinstance(holder, dict) or key not in holder:
        raise FormatFault(f"it lacks {key!r} where it should be")
    return holder[key]


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatFault(f"it has a {type(value).__name__} for {what}, expected a list")
    return value


def _only_block(program: Any) -> list[Any]:
    regions = _list(_entry(program, "regions"), "regions")
    blocks = _list(_entry(regions[0], "blocks"), "blocks") if len(regions) == 1 else []
    if len(blocks) != 1:
        raise FormatFault(f"it has {len(regions)} regions and {len(blocks)} blocks, expected one of each")
    return _list(_entry(blocks[0], "ops"), "operations")


def _is_kept(operation: Any) -> bool:
    """Tell whether a parameter is saved; the state of a recurrent layer's dropout, for one, is not."""
    flags = _list(operation.get("OA", [1]), "flags")  # saved, fixed, trainable
    return not flags or flags[0] != 0


def _parameter_name(operation: Any) -> str:
    names = [value for value in _list(_entry(operation, "A"), "attributes") if isinstance(value, str)]
    if len(names) != 1:
        raise FormatFault(f"it has a parameter with {len(names)} names")
    return names[0]


def _check_kind(place: str, kind: Any) -> None:
    if not isinstance(kind, str) or kind.rstrip("_") not in PIR_OPERATIONS:
        raise FormatFault(f"{place} is none that detectors compute with, and could reach beyond the computation")


def _check_arguments(place: str, operation: Any, defined: set[int]) -> None:
    for argument in _list(_entry(operation, "I"), "arguments"):
        value = _entry(argument, "%")
        if type(value) is not int or value not in defined:
            raise FormatFault(f"{place} takes the value {printable(value, 20)}, which nothing before it makes")


def _made(place: str, operation: Any, defined: set[int]) -> Iterator[int]:
    """The values that an operation makes, after their types are checked."""
    made = _entry(operation, "O")
    for result in made if isinstance(made, list) else [made]:
        value = _entry(result, "%")
        if type(value) is not int or not 0 <= value < _INT32 or (value and value in defined):
            raise FormatFault(f"{place} makes the value {printable(value, 20)}, which is there already or no number")
        _check_type(place, _entry(result, "TT"))
        yield value


def _check_type(place: str, described: Any) -> None:
    kind = _entry(described, "#")
    if kind == "0.t_vec":
        for part in _list(_entry(described, "D"), "a list's types"):
            _check_type(place, part)
    elif kind != "NULL":
        _tensor(place, described)


def _tensor(place: str, described: Any) -> tuple[str, Shape]:
    """Return the data type and shape of a tensor's type."""
    kind = _entry(described, "#")
    data = _entry(described, "D") if kind == "0.t_dtensor" else None
    if not isinstance(data, list) or len(data) < 2:
        raise FormatFault(f"{place} has a value of type {printable(kind)}, expected a tensor")
    name = str(_entry(data[0], "#")).removeprefix("0.t_")
    if name not in _DATA_TYPES:
        raise FormatFault(f"{place} has a tensor of {printable(name)}, which is no number's type")
    return _DATA_TYPES[name], free_shape(place, _list(data[1], "a shape"))


def _check_attributes(place: str, operation: Any) -> None:
    seen = set()
    for attribute in _list(_entry(operation, "A"), "attributes"):
        name = _entry(attribute, "N")
        if not isinstance(name, str) or name in seen:
            raise FormatFault(f"{place} has its attribute {printable(name)} twice")
        seen.add(name)
        _check_attribute(f"{place}: {printable(name)}", _entry(attribute, "AT"))


def _check_attribute(place: str, described: Any) -> None:
    kind, value = _entry(described, "#"), described.get("D")
    if kind == "0.a_array":
        for part in _list(value, "an attribute"):
            _check_attribute(place, part)
        return
    if kind == "0.a_bool":
        fits = isinstance(value, bool)
    elif kind in ("0.a_i32", "0.a_i64"):
        most = _INT32 if kind == "0.a_i32" else _INT64
        fits = type(value) is int and -most <= value < most
    elif kind in ("0.a_f32", "0.a_f64"):
        fits = type(value) in (int, float) or "VD" in described  # NaN and infinity are written apart
    elif kind == "1.a_intarray":
        fits = isinstance(value, list) and all(type(number) is int and abs(number) < _INT64 for number in value)
    else:
        fits = kind != "0.a_str" or isinstance(value, str)
    if not fits:
        raise FormatFault(f"{place} has a value that is no {printable(kind)}")
