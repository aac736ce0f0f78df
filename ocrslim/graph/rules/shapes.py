"""Rules for what moves channels to other axes and positions, without weights.

Where the network's code names a number of channels (`reshape(x, [0, 2, 58, ...])`, `split(x, [58, 58])`), the
trace cannot tell a literal from something computed of the shape. The rules then suppose that equal parts stay
equal, couple accordingly and note it (`Coupling.fix`); a run with fewer channels proves it or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.program import Op
from ocrslim.graph.rules.registry import NotFollowedError, carry, rule


@rule("transpose", matrices=True)
def transpose(op: Op, coupling: Coupling) -> None:
    """Axes in another order."""
    carry(coupling, op["x"], op.outputs[0], [axis % op["x"].rank for axis in op.ints("perm")])


@rule("squeeze", matrices=True)
def squeeze(op: Op, coupling: Coupling) -> None:
    """Without axes of size 1."""
    source, out = op["x"], op.outputs[0]
    axes = {axis % source.rank for axis in op.ints("axis", [])} or set(range(source.rank))
    order = [axis for axis in range(source.rank) if axis not in axes or (source.shape or ())[axis] != 1]
    carry(coupling, source, out, order, f"{op} drops the axis of a single channel")


@rule("unsqueeze", matrices=True)
def unsqueeze(op: Op, coupling: Coupling) -> None:
    """With new axes of size 1."""
    source, out = op["x"], op.outputs[0]
    new = {axis % out.rank for axis in op.ints("axis")}
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
    wanted = op.ints("shape", [-1] * out.rank)
    if wanted[axis] > 0 and len(found.atoms) > 1:
        coupling.fix(found.atoms, op)
    coupling.set(out, axis, atoms)


def reshaped(
    op: Op, coupling: Coupling, before: Sequence[int], channels: Channels, after: Sequence[int]
) -> tuple[int, np.ndarray]:
    """Find the channels along one axis of shape `before` in shape `after`: axis and atoms.

    Raises:
        NotFollowedError: there is one channel only, so that any axis could hold it.
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
        wanted = op.ints("shape", [-1] * out.rank)
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
    axis, found = op.axis(source), coupling.channels(source)
    if found is not None and found.axis == axis:
        coupling.set(out, axis, np.repeat(found.atoms, int(op.attributes["repeats"])))
    else:
        carry(coupling, source, out)


@rule("pad")
def pad(op: Op, coupling: Coupling) -> None:
    """Constants around; channels added so stay."""
    source, out = op["x"], op.outputs[0]
    found = coupling.channels(source)
    if found is None:
        carry(coupling, source, out)
        return
    before, behind = op.ints("paddings")[2 * found.axis :][:2]
    reason = f"{op} adds channels of a constant"
    parts = [coupling.pinned(before, reason), found.atoms, coupling.pinned(behind, reason)]
    coupling.set(out, found.axis, np.concatenate(parts))


@rule("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold")
def shuffle(op: Op, coupling: Coupling) -> None:
    """Channels to space and back, or in another order, by whole factors."""
    source, out = op["x"], op.outputs[0]
    axis = op.channel_axis(source)
    atoms = coupling.atoms(source, axis)
    if op.name == "pixel_shuffle":  # [c, r, r] channels make c
        rows = atoms.reshape(-1, int(op.attributes["upscale_factor"]) ** 2)
        for row in rows:
            coupling.couple_all(row)
        atoms = rows[:, 0]
    elif op.name == "pixel_unshuffle":
        atoms = np.repeat(atoms, int(op.attributes["downscale_factor"]) ** 2)
    elif op.name == "unfold":
        atoms = np.repeat(atoms, math.prod(op.ints("kernel_sizes")))
    else:
        rows = atoms.reshape(int(op.attributes["groups"]), -1)
        for place in rows.T:
            coupling.couple_all(place)
        atoms = rows.T.reshape(-1)
    coupling.set(out, axis, atoms)
