"""A legacy program (`.pdmodel`) with parameters of other shapes: the same operators, names and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.free_shapes import free_channels
from ocrslim.formats.programs.legacy_program import LegacyProgram
from ocrslim.formats.programs.tensor_shapes import Shape
from ocrslim.utils import cause_of

_RESHAPES = ("reshape", "reshape2")


def patched_legacy(program: LegacyProgram, shapes: Mapping[str, Shape], groups: Mapping[str, int]) -> bytes:
    """Return the content of a `.pdmodel` whose parameters have new `shapes`, the others theirs.

    Beside the parameters, groups of convolutions change, and numbers in the shapes that values behind them are reshaped
    to; Paddle infers the shapes of the values.

    Args:
        groups: of a convolution, by its weight.

    Raises:
        FormatFault: Paddle refuses the shapes.
    """
    patch = _Patch(program, shapes)
    for operation in patch.operations:
        patch.apply(operation, groups)
    _infer_shapes(patch.program, patch.behind)
    return bytes(patch.program.SerializeToString())


class _Patch:
    """A copy of a program, edited operator by operator.

    Attributes:
        program: the copy.
        operations: those that it had at first.
        behind: names of the parameters that change, and of all values computed with them.
    """

    def __init__(self, program: LegacyProgram, shapes: Mapping[str, Shape]):
        from paddle.base.proto import framework_pb2

        self.program = framework_pb2.ProgramDesc()
        self.program.CopyFrom(program.description)
        self._block = self.program.blocks[0]
        self.operations: Sequence[Any] = list(self._block.ops)
        self._variables = {variable.name: variable for variable in self._block.vars}
        self._before = {name: _dims(variable) for name, variable in self._variables.items()}
        self._makers = {name: op for op in self.operations for slot in op.outputs for name in slot.arguments}
        self._uses: dict[str, int] = {}
        for name in (name for op in self.operations for slot in op.inputs for name in slot.arguments):
            self._uses[name] = self._uses.get(name, 0) + 1
        self.behind = {name for name, shape in shapes.items() if tuple(shape) != self._before[name]}
        for name in self.behind:
            _set_dims(self._variables[name], shapes[name])

    def apply(self, operation: Any, groups: Mapping[str, int]) -> None:
        """Edit one operation, if it is behind a change."""
        inputs = {slot.parameter: list(slot.arguments) for slot in operation.inputs}
        if self.behind.isdisjoint(name for names in inputs.values() for name in names):
            return
        self.behind.update(name for slot in operation.outputs for name in slot.arguments)
        weight = next(iter(inputs.get("Filter", [])), "")
        if weight in groups:
            _attribute(operation, "groups").i = groups[weight]
        if operation.type in _RESHAPES:
            self._free(operation, inputs)
        elif operation.type == "rnn":
            self._resize(operation, inputs)

    def _free(self, operation: Any, inputs: Mapping[str, Sequence[str]]) -> None:
        """Let the shape that `operation` makes follow the channels."""
        before, listed = self._before[inputs["X"][0]], inputs.get("ShapeTensor", [])
        if listed:
            numbers = [self._number(name) for name in listed]
            for name, number, size in zip(listed, numbers, free_channels(before, numbers)):
                if number is not None and number != size and size is not None:
                    self._set_number(name, size)
        elif not inputs.get("Shape"):
            attribute = _attribute(operation, "shape")
            sizes = free_channels(before, list(attribute.ints))
            del attribute.ints[:]
            attribute.ints.extend(size for size in sizes if size is not None)

    def _resize(self, operation: Any, inputs: Mapping[str, Sequence[str]]) -> None:
        """Let a recurrent layer's sizes be those of its weights, also that of its first states."""
        (_, read), (_, units) = (_dims(self._variables[name]) for name in inputs["WeightList"][:2])
        before = _attribute(operation, "hidden_size").i
        _attribute(operation, "input_size").i, _attribute(operation, "hidden_size").i = read, units
        for state in inputs["PreState"] if units != before else ():
            slots = {slot.parameter: slot.arguments for slot in self._makers[state].inputs}
            sizes = slots.get("ShapeTensorList", [])
            if not sizes or self._number(sizes[-1]) != before:
                raise FormatFault("the size of its first state is not that of a recurrent layer")
            self._set_number(sizes[-1], units)
            self.behind.add(state)

    def _number(self, name: str) -> int | None:
        """Return the constant of one entry that is called `name`; None for a computed value."""
        maker = self._makers.get(name)
        if maker is None or maker.type != "fill_constant" or any(slot.arguments for slot in maker.inputs):
            return None
        return int(_attribute(maker, "value").f)

    def _set_number(self, name: str, number: int) -> None:
        if self._uses[name] > 1:
            raise FormatFault(f"{name} is a size of several shapes at once")
        for attribute in self._makers[name].attrs:
            if attribute.name == "value":
                attribute.f = number
            elif attribute.name == "str_value" and attribute.s:
                attribute.s = str(number)


def _dims(variable: Any) -> Shape:
    return tuple(variable.type.dense_tensor.tensor.dims)


def _set_dims(variable: Any, shape: Sequence[int]) -> None:
    dims = variable.type.dense_tensor.tensor.dims
    del dims[:]
    dims.extend(shape)


def _attribute(operation: Any, name: str) -> Any:
    found = next((attribute for attribute in operation.attrs if attribute.name == name), None)
    if found is None:
        raise FormatFault(f"{operation.type} lacks its attribute {name}")
    return found


def _infer_shapes(program: Any, behind: set[str]) -> None:
    """Set the shapes of the values `behind` to what Paddle infers; its own serialisation would repeat attributes."""
    from paddle.base import core

    description = core.ProgramDesc(program.SerializeToString())
    block = description.block(0)
    for place in range(block.op_size()):
        operation = block.op(place)
        if operation.type() in ("feed", "fetch") or behind.isdisjoint(operation.output_arg_names()):
            continue
        try:
            operation.infer_shape(block)
        except MemoryError:
            raise
        except Exception as error:  # Paddle raises many types
            raise FormatFault(f"{operation.type()} does not take the new shapes ({cause_of(error)})") from None
    for variable in program.blocks[0].vars:
        if variable.name in behind and not variable.persistable:
            _set_dims(variable, block.find_var(variable.name.encode()).shape())
