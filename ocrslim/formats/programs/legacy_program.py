"""Paddle's legacy programs (`.pdmodel`, framework.proto): read, and checked before Paddle runs one.

Paddle takes a program at its word: a name that nothing defines, or an attribute of another type, ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.operations import LEGACY_OPERATIONS
from ocrslim.formats.programs.protobuf import parse_message
from ocrslim.formats.programs.tensor_shapes import Shape, free_shape, image_shape, known_shape
from ocrslim.utils import MIB, printable, read_file

MOST_BYTES = 16 * MIB
_NOTHING = "@EMPTY@"  # stands for an argument that is left out
# framework.proto: VarType.Type
_TENSOR, _FEED, _FETCH = 7, 9, 10
_DATA_TYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
}
# framework.proto: AttrType -> the field that holds the value, and types that Paddle converts into one another
_VALUES = {
    0: "i",
    1: "f",
    2: "s",
    3: "ints",
    4: "floats",
    5: "strings",
    6: "b",
    7: "bools",
    9: "l",
    11: "longs",
    12: "float64s",
    15: "float64",
    16: "scalar",
    17: "scalars",
}
_ALIKE = ({0, 9}, {1, 15}, {3, 11}, {4, 12})


@dataclass(frozen=True)
class LegacyProgram:
    """A program as protobuf parses it: one block of variables and operations is what is run here."""

    description: Any

    @staticmethod
    def read(path: Path | str) -> LegacyProgram:
        """Parse the file `path`.

        Raises:
            OSError: it cannot be read.
            FormatFault: it is damaged.
        """
        from paddle.base.proto import framework_pb2

        return LegacyProgram(parse_message(framework_pb2.ProgramDesc, read_file(path, MOST_BYTES)))

    def parameters(self) -> dict[str, Shape]:
        """Shapes of the parameters, by name; raises FormatFault for one without a name or with an impossible shape."""
        found = {}
        for variable in (variable for block in self.description.blocks for variable in block.vars):
            if variable.persistable and variable.type.type == _TENSOR:
                found[_name(variable)] = known_shape(variable.name, variable.type.dense_tensor.tensor.dims)
        return found

    def check(self) -> Shape:
        """Check that the program is whole and computes tensors alone; return the shape of its input.

        Raises:
            FormatFault: naming the first thing that is not so.
        """
        if len(self.description.blocks) != 1:
            raise FormatFault(f"it has {len(self.description.blocks)} blocks, expected one: no control flow is run")
        block = self.description.blocks[0]
        if block.idx != 0 or block.parent_idx != -1:  # Paddle looks for names in a parent, for ever in its own
            raise FormatFault(f"its block is number {block.idx} in block {block.parent_idx}, expected 0 in none (-1)")
        variables = _variables(block)
        defined = {name for name, variable in variables.items() if variable.persistable}
        for place, operation in enumerate(block.ops):
            _check_operation(f"operation {place} ({printable(operation.type)})", operation, variables, defined)
        return _input_shape(block, variables)


def _name(variable: Any) -> str:
    name = variable.name
    if not isinstance(name, str) or name in ("", _NOTHING):  # bytes where they are no UTF-8
        raise FormatFault(f"it has a variable without a name ({printable(name)})")
    return name


def _variables(block: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in block.vars:
        name = _name(variable)
        if name in found:
            raise FormatFault(f"the variable {printable(name)} is there twice")
        found[name] = variable
        kind = variable.type.type
        if kind == _TENSOR:
            tensor = variable.type.dense_tensor.tensor
            if not variable.type.HasField("dense_tensor") or tensor.data_type not in _DATA_TYPES:
                raise FormatFault(f"{printable(name)} has the data type {tensor.data_type}, which is no number's")
            free_shape(name, tensor.dims)
        elif kind not in (_FEED, _FETCH):
            raise FormatFault(f"{printable(name)} is a variable of type {kind}, expected a tensor")
    return found


def _check_operation(place: str, operation: Any, variables: Mapping[str, Any], defined: set[str]) -> None:
    if operation.type not in LEGACY_OPERATIONS:
        raise FormatFault(f"{place} is none that detectors compute with, and could reach beyond the computation")
    kind = _kind(operation.type)
    for name in _arguments(place, operation.inputs, {} if kind is None else kind.inputs):
        if name not in defined:
            raise FormatFault(f"{place} takes {printable(name)}, which nothing before it makes")
    for name in _arguments(place, operation.outputs, {} if kind is None else kind.outputs):
        if name not in variables:
            raise FormatFault(f"{place} makes {printable(name)}, which is not declared")
        defined.add(name)
    _check_attributes(place, operation.attrs, {} if kind is None else kind.attributes)


@dataclass(frozen=True)
class _Kind:
    """Paddle's description of an operation: its parameters, and its attributes with their types."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    attributes: Mapping[str, int]


def _kind(name: str) -> _Kind | None:
    """None for an operation that this version of Paddle does not describe, and so does not run."""
    from paddle.base.framework import OpProtoHolder

    known = OpProtoHolder.instance().op_proto_map.get(name)
    if known is None:
        return None
    return _Kind(
        {parameter.name: parameter for parameter in known.inputs},
        {parameter.name: parameter for parameter in known.outputs},
        {attribute.name: attribute.type for attribute in known.attrs},
    )


def _arguments(place: str, groups: Any, known: Mapping[str, Any]) -> Iterator[str]:
    """The names in `groups`, each parameter's after its number is checked."""
    found = {}
    for group in groups:
        names = [name for name in group.arguments if name != _NOTHING]
        parameter = known.get(group.parameter)
        if group.parameter in found or (known and parameter is None and names):
            raise FormatFault(f"{place} has an argument {printable(group.parameter)!r} that it does not take")
        if parameter is not None and len(names) > 1 and not parameter.duplicable:
            raise FormatFault(f"{place} has {len(names)} arguments for {group.parameter}, expected one")
        found[group.parameter] = names
    for name, parameter in known.items():
        if not (found.get(name) or parameter.dispensable or parameter.intermediate or parameter.extra):
            raise FormatFault(f"{place} lacks its argument {name}")
    return (name for names in found.values() for name in names)


def _check_attributes(place: str, attributes: Any, known: Mapping[str, int]) -> None:
    seen = set()
    for attribute in attributes:
        name = printable(attribute.name)
        field = _VALUES.get(attribute.type)
        expected = known.get(attribute.name, attribute.type)
        if attribute.name in seen:
            raise FormatFault(f"{place} has its attribute {name} twice")
        seen.add(attribute.name)
        alike = attribute.type == expected or any({attribute.type, expected} <= types for types in _ALIKE)
        if field is None or not alike:
            raise FormatFault(f"{place} has an attribute {name} of type {attribute.type}, expected {expected}")
        if field in ("i", "f", "s", "b", "l", "float64") and not attribute.HasField(field):
            raise FormatFault(f"{place} has an attribute {name} without a value")


def _input_shape(block: Any, variables: Mapping[str, Any]) -> Shape:
    feeds = [operation for operation in block.ops if operation.type == "feed"]
    fetches = [operation for operation in block.ops if operation.type == "fetch"]
    if len(feeds) != 1 or not fetches:
        raise FormatFault(f"it has {len(feeds)} inputs and {len(fetches)} outputs, expected one image and its map")
    for group in (feeds, fetches):
        columns = [attribute.i for operation in group for attribute in operation.attrs if attribute.name == "col"]
        if sorted(columns) != list(range(len(group))):
            raise FormatFault(f"its inputs or outputs have the numbers {columns[:5]}, expected 0 and up")
    (name,) = (argument for group in feeds[0].outputs for argument in group.arguments)
    tensor = variables[name].type.dense_tensor.tensor
    return image_shape(name, tensor.dims, _DATA_TYPES.get(tensor.data_type))
