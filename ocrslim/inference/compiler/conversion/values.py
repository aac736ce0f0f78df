"""The values of a program while its operators are converted one by one: constants, lists, and other names of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Op, Value
from ocrslim.inference.compiler.conversion.passed import passed, whole
from ocrslim.inference.compiler.ir import CONSTANT, Id, Step


class Values:
    """What is known of the values that operators have made.

    Attributes:
        arrays: parameters and buffers by state-dict key.
        parameters: those that operators have used, by value, as they are.
        constants: values that are known before the network runs; float64 or int64.
        lists: values of each list.
        names: value -> the same value by another name.
        groups: groups of a convolution by its weight's key, where they differ from the traced ones.
        stacked: what a list was stacked to -> its values.
        zeros: values that are zeros, of a computed shape.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, int]):
        self.arrays = arrays
        self.groups = groups
        self.parameters: dict[Id, np.ndarray] = {}
        self.constants: dict[Id, np.ndarray] = {}
        self.lists: dict[Id, list[Id]] = {}
        self.names: dict[Id, Id] = {}
        self.stacked: dict[Id, list[Id]] = {}
        self.zeros: set[Id] = set()
        self._written: set[Id] = set()  # parameters and constants that have a step

    def note_parameters(self, op: Op) -> None:
        """Take note of the parameters that an operator uses."""
        met = {value.id: self.arrays.get(value.parameter) for value in op.values() if value.parameter is not None}
        self.parameters.update((key, array) for key, array in met.items() if array is not None)

    def constant(self, value: Value) -> np.ndarray | None:
        """Return a value that is known before the network runs; None for others."""
        if value.parameter is not None:
            return self.arrays[value.parameter].astype(np.float64)
        return self.constants.get(value.id)

    def renamed(self, outputs: Iterable[Value]) -> list[Step]:
        """Return the steps that give outputs their own name, where they are others by another one."""
        again = {value.id: self.names[value.id] for value in outputs if value.id in self.names}
        return [Step("assign", (source,), target, slots=("X",)) for target, source in again.items()]

    def written_first(self, step: Step) -> list[Step]:
        """Return the steps of the constants that `step` is the first to use."""
        found = []
        for value in dict.fromkeys(step.inputs):
            array = self.parameters.get(value, self.constants.get(value))
            if array is not None and value not in self._written:
                self._written.add(value)
                found.append(Step(CONSTANT, (), value, {"value": array}))
        return found

    def remember(self, op: Op) -> None:
        """`full`: a constant."""
        dtype = np.int64 if whole(op) else np.float64
        self.constants[op.outputs[0].id] = np.full(op.attributes["shape"], op.attributes["value"], dtype)

    def remember_list(self, op: Op) -> None:
        """`full_int_array`: a constant, mostly among the attributes of what uses it."""
        self.constants[op.outputs[0].id] = np.array(op.attributes["value"], np.int64)

    def remember_values(self, op: Op) -> None:
        """`assign_value`: a constant in the code."""
        values = np.array(op.attributes["values"], np.int64 if whole(op) else np.float64)
        self.constants[op.outputs[0].id] = values.reshape(op.ints("shape"))

    def remember_zeros(self, op: Op) -> Step:
        """`full_with_tensor`: a constant of a computed shape."""
        if op.attributes["value"] == 0:
            self.zeros.add(op.outputs[0].id)
        return passed(op, self.lists)

    def skip(self, op: Op) -> None:
        """`data`: an input of the network."""

    def reshape_constant(self, op: Op, constant: np.ndarray) -> None:
        traced, shape = op["x"].shape, op.ints("shape")
        if traced != constant.shape and sum(size != 1 for size in shape) == 1:  # a vector that was pruned
            shape = [size if size == 1 else -1 for size in shape]
        try:
            self.constants[op.outputs[0].id] = constant.reshape(shape)
        except ValueError:
            raise LoweringError(f"{op}: {list(constant.shape)} to {shape} is not known to the runtime") from None

    def rename(self, op: Op) -> None:
        """An operator that does nothing, such as a dropout in eval mode."""
        source = next(op.values()).id
        self.names[op.outputs[0].id] = self.names.get(source, source)

    def gather(self, op: Op) -> None:
        """`combine`: a list of values."""
        self.lists[op.outputs[0].id] = [self.names.get(value.id, value.id) for value in op.values()]

    def take_apart(self, op: Op) -> None:
        """`builtin_split` and `builtin_slice`: values of a list."""
        values = self.lists[next(op.values()).id]
        first = int(op.attributes.get("index", 0))
        for target, source in zip(op.outputs, values[first:]):
            self.names[target.id] = source
