"""The program that is made of an ONNX file, operator by operator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Union

import numpy as np

from ocrslim.formats import Folding, OnnxModel, Sizes, copy_name
from ocrslim.graph.frontends.onnx.alone import model_alone
from ocrslim.graph.frontends.onnx.node import Node
from ocrslim.graph.program import ALONE, Op, Value

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]
Made = Union[Value, Sequence[Value]]
Converter = Callable[[Node, "Network"], Made]

CONVERTERS: dict[str, Converter] = {}
UNKNOWN = "onnx."  # in front of the type of an operator that has no equal in Paddle
_RESIZING = ("Resize", "Upsample")
_FLOATS = (1, 11)  # onnx.proto: TensorProto.DataType
DATA_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 11: "float32"}


class FormError(Exception):
    """An operator in a form that is not read; the message says which: `Resize with mode=cubic`."""


def converter(*kinds: str) -> Callable[[Converter], Converter]:
    """Register a function that makes the operators for nodes of these types, and returns what they make."""

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, function))
        return function

    return register


class Network:
    """Operators and values so far."""

    def __init__(self, model: OnnxModel, sizes: Sizes, names: Mapping[str, str]):
        """
        Args:
            names: other names of values.
        """
        self.opset, self.sizes = model.opset, sizes
        self._ids = count(1)
        self._constants, self._names = model.constants, names
        self.folding = Folding(model, sizes.shapes)
        self._values: dict[str, Value] = {}
        self._ops: list[Op] = []
        self._tensors: dict[int, str] = {}  # parameter value -> the tensor in the file
        self._places: dict[int, str] = {}  # the same -> the name of its copy
        self.source = self._new(sizes.shapes[model.input_name])
        self._values[model.input_name] = self.source

    def add(self, node: Node) -> None:
        """Add what `node` computes; numbers that the file knows are written where they are used."""
        if all(self._is_number(name) for name in node.outputs if name):
            return
        function = CONVERTERS.get(node.kind)
        try:
            made = self.unknown(node, node.kind) if function is None else function(node, self)
        except FormError as form:
            made = self.unknown(node, str(form))
        except MemoryError:
            raise
        except Exception:  # a form that the converter does not foresee
            logger.debug("converter of %s failed", node.kind, exc_info=True)
            made = self.unknown(node, f"{node.kind} in a form that is not foreseen")
        values = [made] if isinstance(made, Value) else made
        self._values.update((name, value) for name, value in zip(node.outputs, values) if name)

    def unknown(self, node: Node, what: str) -> Sequence[Value]:
        """Add an operator that stays ONNX's own, or is refused if something uses it and it cannot be run by itself."""
        places = [place for place in range(len(node.inputs)) if node.given(place)]
        known = {place: self.array(node.inputs[place]) for place in places if not self._is_computed(node, place)}
        fixed = {place: array for place, array in known.items() if array is not None}
        inputs = {str(place): self.input(node, place) for place in places if place not in fixed}
        outputs = {name: self._new(self.shape(name)) for name in node.outputs if name}
        alone = model_alone(node, fixed, self.sizes, self.opset)
        attributes = {} if alone is None else {ALONE: alone}
        self._ops.append(Op(UNKNOWN + what, inputs, list(outputs.values()), attributes))
        return [outputs[name] if name else self._new(()) for name in node.outputs]

    def _is_computed(self, node: Node, place: int) -> bool:
        """Tell whether an input is a value, or a parameter; the factors of a size are numbers, though tensors too."""
        name = node.inputs[place]
        is_factor = node.kind in _RESIZING and place > 0
        return name in self._values or (self.is_parameter(name) and not is_factor)

    # -- what a node takes ---------------------------------------------------------------------------------------------

    def input(self, node: Node, place: int) -> Value:
        """Return the value of an input; of a tensor of numbers in the file, a parameter of its own for this use."""
        name = node.inputs[place]
        if name in self._values:
            return self._values[name]
        if self.is_parameter(name):
            shape = self.shape(name)
            value = Value(self._next(), shape, name)
            self._tensors[value.id], self._places[value.id] = name, copy_name(name, node.outputs[0], place)
            return value
        found = self.array(name)
        assert found is not None  # what is no value yet is a constant, or computed of constants
        return self.constant(found)

    def tensor(self, node: Node, place: int, array: np.ndarray, taken: set[str]) -> Value:
        """Return the first tensor behind an input of `node` that is `array` and not `taken`, as a parameter of that.

        Raises:
            FormError: there is none.
        """
        for name in self.folding.tensors(node.inputs[place]):
            one = self._constants[name]
            if name not in taken and one.shape == array.shape and np.array_equal(one, array):
                taken.add(name)
                value = Value(self._next(), array.shape, name)
                self._tensors[value.id] = name
                self._places[value.id] = copy_name(name, node.outputs[0], place)
                return value
        raise FormError(f"{node.kind} with weights that are no tensors of the file")

    def shape(self, name: str) -> Shape:
        """Return the shape of a value."""
        return self.sizes.shapes[name]

    def made(self, node: Node) -> Shape:
        """Return the shape of a node's first output."""
        return self.shape(node.outputs[0])

    def is_parameter(self, name: str) -> bool:
        """Tell whether a value is an array of floating-point numbers in the file, with an axis."""
        return name in self._constants and self.sizes.kinds[name] in _FLOATS and self._constants[name].ndim > 0

    def kind(self, name: str) -> str | None:
        """Return Paddle's name of the data type of a value; None for one that it is not read in."""
        return DATA_TYPES.get(self.sizes.kinds[name])

    def array(self, name: str) -> np.ndarray | None:
        """Return a constant of the file, or what is computed of constants alone; None for anything else."""
        if name in self._constants:
            return self._constants[name]
        found = self.sizes.numbers.get(name)
        return found.values if found is not None and found.literal else None

    def numbers(self, node: Node, place: int, attribute: str, default: Any = None) -> Any:
        """Return numbers that newer operators take as an input and older ones as an attribute.

        Raises:
            FormError: they are computed of the image.
        """
        if not node.given(place):
            return node.attributes.get(attribute, default)
        found = self.array(node.inputs[place])
        if found is None:
            raise FormError(f"{node.kind} with computed {attribute}")
        return found.tolist()

    def scalar(self, name: str) -> float | None:
        """Return a constant that is a single number."""
        found = self.array(name)
        return float(found.reshape(-1)[0]) if found is not None and found.size == 1 else None

    def is_size(self, name: str) -> bool:
        """Tell whether a value is numbers that are known before the network runs, none of them below zero."""
        found = self.sizes.numbers.get(name)
        return found is not None and bool((found.values >= 0).all())

    def _is_number(self, name: str) -> bool:
        found = self.sizes.numbers.get(name)
        return found is not None and found.literal and self.sizes.kinds[name] not in _FLOATS

    # -- what it makes -------------------------------------------------------------------------------------------------

    def emit(self, name: str, inputs: Mapping[str, Value], shape: Iterable[int], /, **attributes: Any) -> Value:
        """Add an operator of one output; return that."""
        value = self._new(tuple(shape))
        self._ops.append(Op(name, dict(inputs), [value], attributes))
        return value

    def listed(self, values: Sequence[Value]) -> Value:
        """Return values as one list."""
        return self.emit_list("combine", {str(place): value for place, value in enumerate(values)})

    def emit_list(self, name: str, inputs: Mapping[str, Value], **attributes: Any) -> Value:
        """Add an operator that makes a list; return that."""
        value = Value(self._next(), None)
        self._ops.append(Op(name, dict(inputs), [value], attributes))
        return value

    def parts(self, found: Value, shapes: Iterable[Shape]) -> list[Value]:
        """Return the values in a list."""
        values = [self._new(shape) for shape in shapes]
        self._ops.append(Op("builtin_split", {"0": found}, values))
        return values

    def constant(self, array: np.ndarray) -> Value:
        """Add a constant."""
        known = array.dtype.name in DATA_TYPES.values()
        kind = "float32" if array.dtype.kind == "f" else array.dtype.name if known else "int64"
        if array.size == 1:
            value = array.reshape(-1)[0].item()
            return self.emit("full", {}, array.shape, shape=list(array.shape), value=value, dtype=kind)
        if array.ndim == 1 and kind == "int64":
            return self.emit("full_int_array", {}, array.shape, value=array.tolist(), dtype=kind)
        values = array.reshape(-1).tolist()
        return self.emit("assign_value", {}, array.shape, shape=list(array.shape), values=values, dtype=kind)

    # -- the whole -----------------------------------------------------------------------------------------------------

    def finished(self, outputs: Sequence[str]) -> tuple[list[Op], list[Value]]:
        """Return the operators that lead to `outputs`, and those; a tensor that is used twice is two parameters.

        Raises:
            FormError: nothing computes an output.
        """
        found = [self._values.get(self._names.get(name, name)) for name in outputs]
        values = [value for value in found if value is not None]
        if len(values) < len(found):
            raise FormError("an output that no operator computes")
        wanted = {value.id for value in values}
        needed = []
        for op in reversed(self._ops):
            if any(value.id in wanted for value in op.outputs):
                needed.append(op)
                wanted.update(value.id for value in op.values())
        taken: set[str] = set()
        return [self._with_copies(op, taken) for op in reversed(needed)], values

    def parameters(self, ops: Iterable[Op]) -> dict[str, str]:
        """Return the tensor in the file of each parameter that `ops` use."""
        used = [value for op in ops for value in op.values() if value.parameter is not None]
        return {str(value.parameter): self._tensors[value.id] for value in used}

    def _with_copies(self, op: Op, taken: set[str]) -> Op:
        renamed = {}
        for argument, value in op.inputs.items():
            if value is not None and value.parameter is not None:
                again = value.parameter in taken
                taken.add(value.parameter)
                value = replace(value, parameter=self._places[value.id]) if again else value
            renamed[argument] = value
        return replace(op, inputs=renamed)

    def _new(self, shape: Shape | None) -> Value:
        return Value(self._next(), shape)

    def _next(self) -> int:
        return next(self._ids)
