"""Shapes in an ONNX file that name numbers of channels, after a cut: those of operators, and those noted for values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.onnx.model import OnnxModel
from ocrslim.formats.onnx.sizes import Sizes, SizeWalk, reshape_target
from ocrslim.formats.onnx.tensors import add_tensor, set_tensor, used_once
from ocrslim.formats.programs.free_shapes import free_channels
from ocrslim.formats.programs.tensor_shapes import Shape
from ocrslim.utils import printable


def follow_cut(model: OnnxModel, old: Sizes, input_shape: Sequence[int], same_outputs: bool = True) -> None:
    """Let the shapes in the file follow its tensors, which are cut already.

    Args:
        model: its `proto` is changed.
        old: sizes before the cut, at `input_shape`.
        same_outputs: refuse outputs of another size.

    Raises:
        FormatFault: the tensors do not go together, or an operator cuts its channels at places that cannot follow.
    """
    walk = SizeWalk(model, input_shape)
    for node in model.nodes:
        source = node.input[0] if node.input else ""
        if node.op_type in _FOLLOWING and source and walk.shapes[source] != old.shapes.get(source):
            _FOLLOWING[node.op_type](_Cut(model, walk, old, node))
        elif node.op_type == "LSTM":
            _set_units(node, walk.shapes[node.input[2]][-1])
        walk.visit(node)
        _require_channels(node, walk.shapes)
    for name in model.output_names if same_outputs else ():
        if walk.shapes[name] != old.shapes[name]:
            raise FormatFault(
                f"its output {printable(name)} becomes {list(walk.shapes[name])}, expected {list(old.shapes[name])}"
            )
    _note_sizes(model.proto.graph, old.shapes, walk.shapes)


class _Cut:
    """One operator behind a cut: its node, and what it takes before and after."""

    def __init__(self, model: OnnxModel, walk: SizeWalk, old: Sizes, node: Any):
        self.model, self.walk, self.old, self.node = model, walk, old, node
        self.before, self.after = old.shapes[node.input[0]], walk.shapes[node.input[0]]

    def numbers(self, place: int) -> list[int] | None:
        """Return the numbers that an input is in the file; None where there is none, or they are computed."""
        name = self.node.input[place] if place < len(self.node.input) else ""
        known = self.walk.numbers.get(name)
        return None if known is None or not known.literal else [int(one) for one in known.values.reshape(-1)]

    def set_numbers(self, place: int, numbers: Sequence[int]) -> None:
        """Give the operator other numbers; what else uses the ones that it has keeps them."""
        graph, name = self.model.proto.graph, self.node.input[place]
        dtype = self.walk.numbers[name].values.dtype
        array = np.array(numbers, dtype if dtype.kind == "i" else np.int64)
        if name in self.model.constants and used_once(graph, name):
            set_tensor(graph, name, array)
        else:
            name = f"{self.node.output[0]}.input_{place}"
            add_tensor(graph, name, array)
            self.node.input[place] = name
        self.walk.define(name, array)

    def scaled(self, place: int, axis: int) -> int:
        """Return where in the cut channels a place is that lies between equal parts of the uncut ones."""
        before, after = self.before[axis], self.after[axis]
        if place * after % before:
            raise FormatFault(
                f"{self.node.op_type} {printable(self.node.output[0])} takes {before} channels apart at {place}, which "
                f"has no counterpart among {after}"
            )
        return place * after // before


def _reshape(cut: _Cut) -> None:
    """Patch the shape where it names a number of channels; which of several, `free_channels` says."""
    node = cut.node
    wanted = reshape_target(cut.old, node.input[1], node.input[0])
    if wanted is None:
        return
    literal = cut.old.literals(node.input[1])
    free = [_free(size, place, cut) for place, size in enumerate(free_channels(cut.before, wanted))]
    made = _resolved(free, cut.after)
    if made is None:
        raise FormatFault(
            f"Reshape {printable(node.output[0])} makes {wanted} of {list(cut.before)}, which has no counterpart for "
            f"{list(cut.after)}"
        )
    now = cut.walk.numbers.get(node.input[1])
    if now is not None and _resolved([int(one) for one in now.values.reshape(-1)], cut.after) == made:
        return
    cut.set_numbers(1, [_number(size, *rest) for size, *rest in zip(literal, free, made)])


def _free(size: int | None, place: int, cut: _Cut) -> int:
    """Return an entry of a shape; of a computed one, that of what is reshaped where that is the same size."""
    if size is not None:
        return size
    made = cut.old.shapes[cut.node.output[0]][place]
    return 0 if place < len(cut.after) and cut.after[place] == made else -1


def _number(old: int | None, free: int, made: int) -> int:
    if old is None:
        return free
    return made if old > 0 else old


def _resolved(wanted: Sequence[int], source: Shape) -> Shape | None:
    """Return the shape that a reshape of `source` makes; None if there is none."""
    sizes = [source[place] if size == 0 and place < len(source) else size for place, size in enumerate(wanted)]
    total, known = int(np.prod(source)), int(np.prod([size for size in sizes if size != -1]))
    if sizes.count(-1) > 1 or not known or total % known or (-1 not in sizes and total != known):
        return None
    return tuple(total // known if size == -1 else size for size in sizes)


def _split(cut: _Cut) -> None:
    """Patch the sizes of parts."""
    attributes = {one.name: one for one in cut.node.attribute}
    axis = (attributes["axis"].i if "axis" in attributes else 0) % len(cut.before)
    if cut.before[axis] == cut.after[axis]:
        return
    if "split" in attributes:
        attributes["split"].ints[:] = [cut.scaled(size, axis) for size in attributes["split"].ints]
    elif cut.numbers(1) is not None:
        cut.set_numbers(1, [cut.scaled(size, axis) for size in cut.numbers(1) or ()])


def _slice(cut: _Cut) -> None:
    """Patch the ends of ranges."""
    attributes = {one.name: one for one in cut.node.attribute}
    if "starts" in attributes:
        lists = [list(attributes[name].ints) for name in ("starts", "ends")]
        axes = list(attributes["axes"].ints) if "axes" in attributes else list(range(len(lists[0])))
    else:
        given = [cut.numbers(1), cut.numbers(2)]
        if given[0] is None or given[1] is None:
            return
        lists = [given[0], given[1]]
        axes = cut.numbers(3) or list(range(len(lists[0])))
    patched = [[_bound(cut, one, axis % len(cut.before)) for one, axis in zip(bounds, axes)] for bounds in lists]
    for place, name, bounds, new in ((1, "starts", lists[0], patched[0]), (2, "ends", lists[1], patched[1])):
        if new != bounds and name in attributes:
            attributes[name].ints[:] = new
        elif new != bounds:
            cut.set_numbers(place, new)


def _bound(cut: _Cut, bound: int, axis: int) -> int:
    size = cut.before[axis]
    if size == cut.after[axis] or bound in (0, -size) or bound > size or bound < -size:
        return bound
    return cut.scaled(bound, axis)


def _set_units(node: Any, units: int) -> None:
    """Let an LSTM have other units; its first states, which are zeros in what is read here, are left out then."""
    size = next((one for one in node.attribute if one.name == "hidden_size"), None)
    if size is not None and size.i != units:
        size.i = units
        for place in range(5, min(7, len(node.input))):
            node.input[place] = ""


def _sizes_at(place: int) -> Callable[[_Cut], None]:
    """Return what patches a shape whose axes are those of the operator's first input."""

    def patch(cut: _Cut) -> None:
        numbers = cut.numbers(place)
        if numbers is None:
            return
        offset = len(numbers) - len(cut.before)
        changed = {offset + axis: pair for axis, pair in enumerate(zip(cut.before, cut.after)) if pair[0] != pair[1]}
        new = [changed[at][1] if at in changed and size == changed[at][0] else size for at, size in enumerate(numbers)]
        if new != numbers:
            cut.set_numbers(place, new)

    return patch


_FOLLOWING: Mapping[str, Callable[[_Cut], None]] = {
    "Reshape": _reshape,
    "Split": _split,
    "Slice": _slice,
    "Expand": _sizes_at(1),
    "Resize": _sizes_at(3),
}


def _require_channels(node: Any, shapes: Mapping[str, Shape]) -> None:
    """Require that a convolution reads as many channels as there are, which ONNX's inference leaves open."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return
    groups = next((one.i for one in node.attribute if one.name == "group"), 1)
    (given, weight), transposed = (shapes[name] for name in node.input[:2]), node.op_type == "ConvTranspose"
    read = weight[0] if transposed else weight[1] * groups
    if given[1] != read or (weight[0] % groups):
        raise FormatFault(
            f"{node.op_type} {printable(node.output[0])} reads {read} channels in {groups} groups, "
            f"it is given {given[1]}"
        )


def _note_sizes(graph: Any, old: Mapping[str, Shape], new: Mapping[str, Shape]) -> None:
    """Correct the sizes that the file notes for values."""
    for value in (*graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        before, after = old.get(value.name, ()), new.get(value.name, ())
        if len(dims) == len(before) == len(after):
            for dim, was, now in zip(dims, before, after):
                if was != now and dim.HasField("dim_value"):
                    dim.dim_value = now
