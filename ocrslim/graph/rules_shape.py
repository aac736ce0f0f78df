"""Rules for what moves, joins, cuts and reduces values without weights.

Where the network's code names a number of channels (`reshape(x, [0, 2, 58, ...])`, `split(x, [58, 58])`), the
trace cannot tell a literal from something computed of the shape. The rules then suppose that equal parts stay
equal, couple accordingly and note it (`Coupling.fix`); a run with fewer channels proves it or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.program import Op, Value
from ocrslim.graph.rules import CONSTANT, NotFollowedError, carry, rule
from ocrslim.graph.rules_layers import channel_axis

_SPATIAL = """
    pool2d pool3d max_pool2d_with_index max_pool3d_with_index fractional_max_pool2d lp_pool2d unpool pad3d
    nearest_interp bilinear_interp bicubic_interp linear_interp trilinear_interp grid_sample roi_align roi_pool
""".split()
_REDUCTIONS = """
    all amax amin any argmax argmin frobenius_norm logsumexp max mean median min nanmedian p_norm prod
    squared_l2_norm sum
""".split()
_ALONG = """
    argsort cummax cummin cumprod cumsum flip gumbel_softmax log_softmax logcumsumexp roll softmax topk
""".split()


def _ints(value: Any) -> list[int]:
    return [int(v) for v in value] if isinstance(value, Iterable) else [int(value)]


def _axis(op: Op, value: Value, name: str = "axis", default: int = -1) -> int:
    return _ints(op.attributes.get(name, default))[0] % value.rank


@rule(*_SPATIAL)
def spatial(op: Op, coupling: Coupling) -> None:
    """Works on each channel's map alone."""
    source = next(op.values())
    found = coupling.channels(source)
    if found is not None and found.axis not in (0, channel_axis(op, source)):
        raise NotFollowedError("runs across its channels")
    for value in op.values():
        if value is not source:
            coupling.pin_value(value, f"{op} reads places, not channels, from it")
    for target in op.outputs:
        carry(coupling, source, target)


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


@rule("shape", "shape64", "numel", "size")
def sizes(op: Op, coupling: Coupling) -> None:
    """A size, not a value: nothing behind it carries channels, but it may be their number."""
    found = coupling.channels(next(op.values()))
    if found is not None:
        coupling.fix(found.atoms, op)
    for target in op.outputs:
        coupling.set_opaque(target, "a size")


@rule("full", "full_int_array", "data", "assign_value", "arange", "full_with_tensor", "gaussian", "uniform", "empty")
def constant(op: Op, coupling: Coupling) -> None:
    """A value that no input has part in."""
    for target in op.outputs:
        coupling.set_opaque(target, CONSTANT)


@rule("concat")
def concat(op: Op, coupling: Coupling) -> None:
    """Channels one behind the other, or values that share their channels along another axis."""
    items, out = coupling.items(op["x"]), op.outputs[0]
    axis = _axis(op, out)
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
    coupling.set(out, found[0].axis + (found[0].axis >= _axis(op, out)), found[0].atoms)


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
    axis, shape = _axis(op, source), list(source.shape or ())
    count = op.attributes.get("num")
    sections = [shape[axis] // count] * count if count else _ints(op.attributes["sections"])
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
    dropped = _ints(op.attributes.get("decrease_axis", []))
    order = [axis for axis in range(source.rank) if axis not in dropped]
    found = coupling.channels(source)
    axes = _ints(op.attributes["axes"])
    if found is None or found.axis not in axes:
        carry(coupling, source, out, order)
        return
    which, size = axes.index(found.axis), len(found.atoms)
    steps = _ints(op.attributes.get("strides", [1] * len(axes)))
    ends = (_ints(op.attributes[name])[which] for name in ("starts", "ends"))
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
    axis = _axis(op, source, default=0)
    order = [other for other in range(source.rank) if other != axis]
    shape = source.shape or ()
    items = [coupling.item(shape[other] for other in order) for _ in range(shape[axis])]
    coupling.set_items(op.outputs[0], items)
    for item in items:
        carry(coupling, source, item, order, f"{op} takes its channels apart")


@rule("transpose", matrices=True)
def transpose(op: Op, coupling: Coupling) -> None:
    """Axes in another order."""
    carry(coupling, op["x"], op.outputs[0], [axis % op["x"].rank for axis in _ints(op.attributes["perm"])])


@rule("squeeze", matrices=True)
def squeeze(op: Op, coupling: Coupling) -> None:
    """Without axes of size 1."""
    source, out = op["x"], op.outputs[0]
    axes = {axis % source.rank for axis in _ints(op.attributes.get("axis", []))} or set(range(source.rank))
    order = [axis for axis in range(source.rank) if axis not in axes or (source.shape or ())[axis] != 1]
    carry(coupling, source, out, order, f"{op} drops the axis of a single channel")


@rule("unsqueeze", matrices=True)
def unsqueeze(op: Op, coupling: Coupling) -> None:
    """With new axes of size 1."""
    source, out = op["x"], op.outputs[0]
    new = {axis % out.rank for axis in _ints(op.attributes["axis"])}
    old = iter(range(source.rank))
    carry(coupling, source, out, [None if axis in new else next(old) for axis in range(out.rank)])


@rule("reshape", "flatten", "view_shape", matrices=True)
def reshape(op: Op, coupling: Coupling) -> None:
    """The same entries in another shape; channels end along one axis, coupled where they would need two."""
    source, out = op["x"], op.outputs[0]
    found = coupling.channels(source)
    if found is None:
        if coupling.view(source) is not None and source.rank > 1:
            raise NotFollowedError("reshapes a parameter along several axes")
        coupling.set_opaque(out, coupling.origin(source))
        return
    if min((*(source.shape or ()), *(out.shape or ()))) < 0:
        raise NotFollowedError("its size is only known when it runs")
    axis, atoms = reshaped(op, coupling, source.shape or (), found, out.shape or ())
    wanted = _ints(op.attributes.get("shape", [-1] * out.rank))
    if wanted[axis] > 0 and len(found.atoms) > 1:
        coupling.fix(found.atoms, op)
    coupling.set(out, axis, atoms)


def reshaped(
    op: Op, coupling: Coupling, before: Sequence[int], channels: Channels, after: Sequence[int]
) -> tuple[int, np.ndarray]:
    """Where channels along one axis of shape `before` lie in shape `after`: axis and atoms.

    Raises:
        NotFollowedError: there is one channel only, which no axis can be told to hold.
    """
    if len(channels.atoms) == 1:
        if len(before) == len(after):
            return channels.axis, channels.atoms
        raise NotFollowedError("moves a single channel")
    start, stop, first, last = _block(before, channels.axis, after)
    inside = channels.axis - start
    index = np.arange(len(channels.atoms)).reshape([-1 if i == inside else 1 for i in range(stop - start)])
    index = np.broadcast_to(index, before[start:stop]).reshape(after[first:last])
    roots = coupling.roots(channels.atoms)[index]
    varying = [axis for axis in range(index.ndim) if (np.take(roots, [0], axis=axis) != roots).any()]
    if not varying:  # all go together: any axis long enough shows it
        varying = [int(np.argmax(index.shape))]
    inner = varying[-1]
    rows = np.moveaxis(channels.atoms[index], inner, 0).reshape(index.shape[inner], -1)
    if len(varying) > 1:
        for row in rows:
            coupling.couple_all(row)
        coupling.fix(channels.atoms, op)
    return first + inner, rows[:, 0]


def _block(before: Sequence[int], axis: int, after: Sequence[int]) -> tuple[int, int, int, int]:
    """The smallest runs of axes around `axis` that hold the same entries: [start, stop) and [first, last)."""
    stop = last = 0
    while True:
        start, first = stop, last
        sizes = [1, 1]
        while stop == start or sizes[0] != sizes[1]:
            if sizes[0] <= sizes[1]:
                sizes[0] *= before[stop]
                stop += 1
            else:
                sizes[1] *= after[last]
                last += 1
        if start <= axis < stop:
            return start, stop, first, last


@rule("expand", "broadcast_to")
def expand(op: Op, coupling: Coupling) -> None:
    """Axes of size 1 repeated; a single channel that is becomes many."""
    source, out = op["x"], op.outputs[0]
    found, added = coupling.channels(source), out.rank - source.rank
    if found is not None:
        if len(found.atoms) != (out.shape or ())[found.axis + added]:
            raise NotFollowedError("spreads a single channel over others")
        wanted = _ints(op.attributes.get("shape", [-1] * out.rank))
        if wanted[found.axis + added] > 0 and len(found.atoms) > 1:
            coupling.fix(found.atoms, op)
    carry(coupling, source, out, [None] * added + list(range(source.rank)))


@rule("tile")
def tile(op: Op, coupling: Coupling) -> None:
    """All entries several times along an axis."""
    source, out = op["x"], op.outputs[0]
    found = coupling.channels(source)
    if found is None:
        carry(coupling, source, out)
        return
    axis = found.axis + out.rank - source.rank
    coupling.set(out, axis, np.tile(found.atoms, (out.shape or ())[axis] // len(found.atoms)))


@rule("repeat_interleave")
def repeat(op: Op, coupling: Coupling) -> None:
    """Every entry several times in a row along an axis."""
    source, out = op["x"], op.outputs[0]
    axis, found = _axis(op, source), coupling.channels(source)
    if found is not None and found.axis == axis:
        coupling.set(out, axis, np.repeat(found.atoms, int(op.attributes["repeats"])))
    else:
        carry(coupling, source, out)


@rule(*_REDUCTIONS, matrices=True)
def reduce(op: Op, coupling: Coupling) -> None:
    """One value for all along some axes; channels among those stay, as the result depends on each."""
    source, out = next(op.values()), op.outputs[0]
    axes = {axis % source.rank for axis in _ints(op.attributes.get("axis", op.attributes.get("dims", [])))}
    if not axes or any(op.attributes.get(name) for name in ("reduce_all", "flatten", "asvector")):
        axes = set(range(source.rank))
    reason = f"{op} runs over its channels"
    kept = out.rank == source.rank
    order = [None if axis in axes else axis for axis in range(source.rank) if kept or axis not in axes]
    for target in op.outputs:
        carry(coupling, source, target, order, reason)


@rule(*_ALONG)
def along(op: Op, coupling: Coupling) -> None:
    """Each result depends on all entries along some axes (without any named, on all): channels there stay."""
    source = next(op.values())
    found = coupling.channels(source)
    axes = {axis % source.rank for axis in _ints(op.attributes.get("axis", op.attributes.get("dim", [])))}
    if found is not None and (found.axis in axes or not axes or op.attributes.get("flatten")):
        coupling.pin(found.atoms, f"{op} runs over its channels")
    for target in op.outputs:
        if target.rank == source.rank:
            carry(coupling, source, target)


@rule("pad")
def pad(op: Op, coupling: Coupling) -> None:
    """Constants around; channels added so stay."""
    source, out = op["x"], op.outputs[0]
    found = coupling.channels(source)
    if found is None:
        carry(coupling, source, out)
        return
    before, behind = _ints(op.attributes["paddings"])[2 * found.axis :][:2]
    reason = f"{op} adds channels of a constant"
    parts = [coupling.pinned(before, reason), found.atoms, coupling.pinned(behind, reason)]
    coupling.set(out, found.axis, np.concatenate(parts))


@rule("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold")
def shuffle(op: Op, coupling: Coupling) -> None:
    """Channels to space and back, or in another order, by whole factors."""
    source, out = op["x"], op.outputs[0]
    axis = channel_axis(op, source)
    atoms = coupling.atoms(source, axis)
    if op.name == "pixel_shuffle":  # [c, r, r] channels make c
        rows = atoms.reshape(-1, int(op.attributes["upscale_factor"]) ** 2)
        for row in rows:
            coupling.couple_all(row)
        atoms = rows[:, 0]
    elif op.name == "pixel_unshuffle":
        atoms = np.repeat(atoms, int(op.attributes["downscale_factor"]) ** 2)
    elif op.name == "unfold":
        atoms = np.repeat(atoms, math.prod(_ints(op.attributes["kernel_sizes"])))
    else:
        rows = atoms.reshape(int(op.attributes["groups"]), -1)
        for place in rows.T:
            coupling.couple_all(place)
        atoms = rows.T.reshape(-1)
    coupling.set(out, axis, atoms)


@rule("if", "while", "select_input", "select_output")
def control_flow(op: Op, coupling: Coupling) -> None:
    """What runs depends on the data, so nothing inside is followed."""
    raise NotFollowedError("control flow that depends on the data")
