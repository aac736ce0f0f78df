"""Rules for lists of values: joining them, and taking one apart.

Where the network's code names a number of channels (`reshape(x, [0, 2, 58, ...])`, `split(x, [58, 58])`), the
trace cannot tell a literal from something computed of the shape. The rules then suppose that equal parts stay
equal, couple accordingly and note it (`Coupling.fix`); a run with fewer channels proves it or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.program import Op, Value
from ocrslim.graph.rules.registry import NotFollowedError, carry, rule


@rule("combine", matrices=True)
def combine(op: Op, coupling: Coupling) -> None:
    """Values into a list."""
    coupling.set_items(op.outputs[0], op.values())


@rule("builtin_split", "builtin_slice", matrices=True)
def take_apart(op: Op, coupling: Coupling) -> None:
    """A list into its values, or one of them."""
    source = next(op.values())
    items = coupling.items(source)
    if items == [source]:
        for target in op.outputs:
            coupling.set_opaque(target, coupling.origin(source))
        return
    if "index" in op.attributes:
        items = [items[op.attributes["index"]]]
    for item, target in zip(items, op.outputs):
        carry(coupling, item, target)


@rule("concat")
def concat(op: Op, coupling: Coupling) -> None:
    """Channels one behind the other, or values that share their channels along another axis."""
    items, out = coupling.items(op["x"]), op.outputs[0]
    axis = op.axis(out)
    found = [channels for channels in map(coupling.channels, items) if channels is not None]
    if not found:
        coupling.set_opaque(out, coupling.origin(items[0]))
    elif all(channels.axis == axis for channels in found):
        coupling.set(out, axis, np.concatenate([coupling.atoms(item, axis) for item in items]))
    else:
        _side_by_side(op, coupling, items, found)
        coupling.set(out, found[0].axis, found[0].atoms)


@rule("stack")
def stack(op: Op, coupling: Coupling) -> None:
    """Values that share their channels, along a new axis."""
    items, out = coupling.items(op["x"]), op.outputs[0]
    found = [channels for channels in map(coupling.channels, items) if channels is not None]
    if not found:
        coupling.set_opaque(out, coupling.origin(items[0]))
        return
    _side_by_side(op, coupling, items, found)
    coupling.set(out, found[0].axis + (found[0].axis >= op.axis(out)), found[0].atoms)


def _side_by_side(op: Op, coupling: Coupling, items: Sequence[Value], found: Sequence[Channels]) -> None:
    if len({channels.axis for channels in found}) > 1:
        raise NotFollowedError("joins channels along two axes")
    for channels in found[1:]:
        coupling.couple(found[0].atoms, channels.atoms)
    if len(found) < len(items):
        coupling.pin(found[0].atoms, f"{op} meets a value whose size does not change")


@rule("split", "split_with_num")
def split(op: Op, coupling: Coupling) -> None:
    """Into parts along an axis; parts of the channels must be equal, and stay so."""
    source = op["x"]
    axis, shape = op.axis(source), list(source.shape or ())
    count = op.attributes.get("num")
    sections = [shape[axis] // count] * count if count else op.ints("sections")
    if -1 in sections:
        sections[sections.index(-1)] = shape[axis] - sum(sections) - 1
    items = [coupling.item([*shape[:axis], section, *shape[axis + 1 :]]) for section in sections]
    coupling.set_items(op.outputs[0], items)
    found = coupling.channels(source)
    if found is None or found.axis != axis:
        for item in items:
            carry(coupling, source, item)
        return
    if len(set(sections)) > 1:
        coupling.pin(found.atoms, f"{op} cuts its channels at fixed positions")
    elif len(sections) > 1:
        _equal_parts(op, coupling, found.atoms, sections[0])
    for item, part in zip(items, np.split(found.atoms, np.cumsum(sections)[:-1])):
        coupling.set(item, axis, part)


def _equal_parts(op: Op, coupling: Coupling, atoms: np.ndarray, size: int) -> None:
    for places in atoms.reshape(-1, size).T:
        coupling.couple_all(places)
    coupling.fix(atoms, op)


@rule("slice", "strided_slice")
def cut_out(op: Op, coupling: Coupling) -> None:
    """A range along some axes; of the channels, one of several equal parts."""
    source, out = next(op.values()), op.outputs[0]
    dropped = op.ints("decrease_axis", [])
    order = [axis for axis in range(source.rank) if axis not in dropped]
    found = coupling.channels(source)
    axes = op.ints("axes")
    if found is None or found.axis not in axes:
        carry(coupling, source, out, order)
        return
    which, size = axes.index(found.axis), len(found.atoms)
    steps = op.ints("strides", [1] * len(axes))
    ends = (op.ints(name)[which] for name in ("starts", "ends"))
    start, stop = (min(size, end + size if end < 0 else end) for end in ends)
    length = stop - start
    if found.axis in dropped or steps[which] != 1 or length <= 0 or size % length or start % length:
        raise NotFollowedError("takes some of its channels at fixed positions")
    if length < size:
        _equal_parts(op, coupling, found.atoms, length)
    coupling.set(out, order.index(found.axis), found.atoms[start:stop])


@rule("unbind", "unstack")
def unbind(op: Op, coupling: Coupling) -> None:
    """A value for each index along an axis, which is gone."""
    source = next(op.values())
    axis = op.axis(source, default=0)
    order = [other for other in range(source.rank) if other != axis]
    shape = source.shape or ()
    items = [coupling.item(shape[other] for other in order) for _ in range(shape[axis])]
    coupling.set_items(op.outputs[0], items)
    for item in items:
        carry(coupling, source, item, order, f"{op} takes its channels apart")
