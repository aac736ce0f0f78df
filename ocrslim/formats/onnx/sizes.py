"""The sizes of all values of an ONNX network at one input size, and the numbers that are known before it runs.

Sizes come from ONNX's own shape inference, node by node. Numbers that depend on sizes and constants alone (what `Shape`
leads to, until a `Reshape`) are computed by ONNX's reference implementation, as they are and a second time with a code
in the place of every size: so it shows which entry is a number in the file and which is the size of what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.onnx.model import OnnxModel
from ocrslim.formats.onnx.soundness import Soundness, place_of
from ocrslim.formats.programs.tensor_shapes import Shape, known_shape
from ocrslim.utils import cause_of

MOST_NUMBERS = 1 << 16  # of a value that is computed here
_FIRST_CODE, _CODES_EACH = 1 << 20, 16  # exact also in float32
# operators whose inputs from this one on say what the output's shape is, so that they take no codes
_SHAPING = {
    **dict.fromkeys(("ConstantOfShape", "Range", "OneHot"), 0),
    **dict.fromkeys(("Expand", "Pad", "Reshape", "Resize", "Slice", "Split", "Tile", "TopK", "Upsample"), 1),
}


@dataclass(frozen=True)
class Numbers:
    """Numbers that are known before the network runs.

    Attributes:
        values: at the input size.
        coded: the same, computed with codes in the place of sizes.
    """

    values: np.ndarray
    coded: np.ndarray

    @property
    def literal(self) -> bool:
        """Tell whether all of them are the file's own, whatever the input."""
        return bool(np.array_equal(self.values, self.coded))


@dataclass(frozen=True)
class Sizes:
    """What is known of each value at one input size.

    Attributes:
        shapes: by name, of parameters too.
        kinds: ONNX's number of the data type, by name.
        numbers: by name, of small constants and what is computed of them and of sizes.
    """

    shapes: Mapping[str, Shape]
    kinds: Mapping[str, int]
    numbers: Mapping[str, Numbers]
    _sources: Sequence[str] = ()  # values whose sizes have codes

    def literals(self, name: str) -> list[int | None]:
        """Return a vector of numbers, None in the place of those that are computed of sizes."""
        found = self.numbers[name]
        pairs = zip(found.values.reshape(-1).tolist(), found.coded.reshape(-1).tolist())
        return [value if value == coded else None for value, coded in pairs]

    def size_of(self, name: str, place: int) -> tuple[str, int] | None:
        """Return the value and its axis whose size the entry at `place` of a vector of numbers is."""
        found = self.numbers[name]
        code = found.coded.reshape(-1)[place]
        which, axis = divmod(int(code) - _FIRST_CODE, _CODES_EACH)
        if code == found.values.reshape(-1)[place] or not 0 <= which < len(self._sources):
            return None
        source = self._sources[which]
        return (source, axis) if axis < len(self.shapes[source]) else None


def reshape_target(sizes: Sizes, name: str, source: str) -> list[int | None] | None:
    """Return the shape that a `Reshape` makes: 0 for a size as it is in `source`, -1 for what is left.

    A size that is computed is 0 where it was read off the same axis of `source`, or of a value of its shape; the first
    axis of a value is the batch everywhere. Another one is None, or -1 if it is the only one. Of a shape of numbers
    alone, the only one but for ones is -1, so that it follows a cut.

    Args:
        name: of the input that is the shape; None is returned if nothing is known of it.
        source: of the value that is reshaped.
    """
    if name not in sizes.numbers:
        return None
    wanted, before = sizes.literals(name), sizes.shapes[source]
    for place, size in enumerate(wanted):
        found = sizes.size_of(name, place) if size is None and place < len(before) else None
        if (
            found is not None
            and found[1] == place
            and (
                found[0] == source
                or sizes.shapes[found[0]] == before
                or (place == 0 and sizes.shapes[found[0]][0] == before[0])
            )
        ):
            wanted[place] = 0
    if -1 not in wanted:
        large = [place for place, size in enumerate(wanted) if size is None]
        large = large or [place for place, size in enumerate(wanted) if size is not None and size > 1]
        if len(large) == 1:
            wanted[large[0]] = -1
    return wanted


def sizes_at(model: OnnxModel, input_shape: Sequence[int]) -> Sizes:
    """Return the sizes of all values for an image of `input_shape`.

    Raises:
        FormatFault: the network does not take such an image, or has a value whose size depends on its content.
    """
    walk = SizeWalk(model, input_shape)
    for node in model.nodes:
        walk.visit(node)
    return walk.sizes


class SizeWalk:
    """State of one walk over the nodes: what is known of the values so far, as `Sizes` has it."""

    def __init__(self, model: OnnxModel, input_shape: Sequence[int]):
        """Start at an image of `input_shape`; raises as `OnnxModel.input_shape`."""
        from onnx import helper

        self._opset = model.opset
        self._soundness = Soundness(model.opset, model.proto.ir_version)
        self._imports = [helper.make_opsetid("", model.opset)]
        self.shapes: dict[str, Shape] = {model.input_name: model.input_shape(input_shape)}
        self.kinds: dict[str, int] = {model.input_name: 1}
        self.numbers: dict[str, Numbers] = {}
        self._sources: list[str] = []
        self.sizes = Sizes(self.shapes, self.kinds, self.numbers, self._sources)
        for name, array in model.constants.items():
            self.define(name, array)

    def define(self, name: str, array: np.ndarray) -> None:
        """Take `array` for a constant of the file."""
        from onnx import helper

        self.shapes[name] = array.shape
        self.kinds[name] = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.numbers.pop(name, None)
        if array.size <= MOST_NUMBERS:
            self.numbers[name] = Numbers(array, array)

    def visit(self, node: Any) -> None:
        """Find the sizes of what one node makes, and its numbers where they can be known."""
        place = place_of(node)
        self._soundness.require(node, self.shapes)
        try:
            types = self._infer(node)
        except Exception as error:  # of ONNX's own inference
            raise FormatFault(f"{place} does not fit an input of this size: {cause_of(error)}") from None
        for name in filter(None, node.output):
            tensor = types[name].tensor_type if name in types else None
            dims = (
                [] if tensor is None else [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
            )
            if tensor is None or not tensor.HasField("shape") or None in dims:
                raise FormatFault(f"{place} makes a value whose size depends on the content of the image")
            self.shapes[name], self.kinds[name] = known_shape(name, dims), tensor.elem_type
        self._compute(node)

    def _infer(self, node: Any) -> Mapping[str, Any]:
        from onnx import defs, helper, numpy_helper, shape_inference

        schema = defs.get_schema(node.op_type, self._opset, "")
        given = [name for name in node.input if name]
        types = {name: helper.make_tensor_type_proto(self.kinds[name], self.shapes[name]) for name in given}
        if not schema.has_type_and_shape_inference_function:
            return self._infer_as_model(node, types)
        data = {name: numpy_helper.from_array(self.numbers[name].values) for name in given if name in self.numbers}
        return shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=self._imports)

    def _infer_as_model(self, node: Any, types: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find what a node makes whose type is put together of others, such as `GreaterOrEqual`."""
        from onnx import helper, shape_inference

        if node.op_type == "GroupNormalization":
            return {node.output[0]: types[node.input[0]]}
        inputs = [helper.make_value_info(name, kind) for name, kind in types.items()]
        graph = helper.make_graph([node], "one", inputs, [])
        found = shape_inference.infer_shapes(helper.make_model(graph, opset_imports=self._imports, ir_version=8))
        return {value.name: value.type for value in found.graph.value_info}

    def _compute(self, node: Any) -> None:
        """Compute what `node` makes, where all that it takes is known."""
        if node.op_type == "Shape":
            self._remember_sizes(node)
            return
        given, made = ([name for name in names if name] for names in (node.input, node.output))
        if not given or not all(name in self.numbers for name in given):
            return
        shaping = [name for name in node.input[_SHAPING.get(node.op_type, len(node.input)) :] if name]
        too_many = any(prod(self.shapes[name]) > MOST_NUMBERS for name in made)
        if too_many or not all(self.numbers[name].literal for name in shaping):
            return
        values, coded = (self._evaluate(node, which) for which in ("values", "coded"))
        self.numbers.update((name, Numbers(values[name], coded[name])) for name in made if name in coded)

    def _evaluate(self, node: Any, which: str) -> Mapping[str, np.ndarray]:
        """Run a node on known numbers; what fails makes none."""
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        given = {name: getattr(self.numbers[name], which) for name in node.input if name}
        graph = helper.make_graph([node], "one", [untyped(name) for name in given], [untyped(n) for n in node.output])
        try:
            found = ReferenceEvaluator(graph, opsets={"": self._opset}).run(None, given)
        except Exception:  # what the reference lacks, or cannot do with codes for sizes: to be computed in the network
            return {}
        return {name: np.asarray(one) for name, one in zip(node.output, found)}

    def _remember_sizes(self, node: Any) -> None:
        source = node.input[0]
        shape = self.shapes[source]
        first = _FIRST_CODE + _CODES_EACH * len(self._sources)
        self._sources.append(source)
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        taken = slice(settings.get("start", 0), settings.get("end", len(shape)))
        codes = np.arange(first, first + len(shape))
        self.numbers[node.output[0]] = Numbers(np.array(shape, np.int64)[taken], codes[taken])


def untyped(name: str) -> Any:
    """Describe a value of unknown type, for graphs that are computed at once."""
    from onnx import helper

    return helper.make_value_info(name, helper.make_tensor_type_proto(0, None))
