"""Rules for convolutions, norms and PReLU."""

from __future__ import annotations

import numpy as np

from ocrslim.graph.coupling import Coupling
from ocrslim.graph.groups import INPUT, OUTPUT
from ocrslim.graph.program import Op, Value
from ocrslim.graph.rules.registry import NotFollowedError, carry, elementwise, positions, rule, weight_of


@rule("conv2d", "depthwise_conv2d", "conv3d", matrices=True)
def convolution(op: Op, coupling: Coupling) -> None:
    """Weight [out, in / groups, ...]: reads channels on axis 1, makes them on axis 0."""
    source, weight = op["input"], weight_of(coupling, op["filter"])
    _convolve(op, coupling, source, weight)


@rule("deformable_conv", matrices=True)
def deformable(op: Op, coupling: Coupling) -> None:
    """A convolution; offsets and mask belong to places of its kernel, not to channels.

    The channels that it reads lie in as many blocks as it has deformable groups, all of one size, each moved by
    offsets of its own: the same places go in every block. Paddle wants as many equal blocks of what it makes, too.
    """
    weight = weight_of(coupling, op["filter"])
    for name in ("offset", "mask"):
        value = op.inputs.get(name)
        if value is not None:
            coupling.pin_value(value, f"{name} of {op}: one value for each place of the kernel")
    _convolve(op, coupling, op["x"], weight)
    for value in (op["x"], op.outputs[0]):
        blocks = coupling.atoms(value, 1).reshape(op.attributes.get("deformable_groups") or 1, -1)
        for places in blocks.T:
            coupling.couple_all(places)


def _convolve(op: Op, coupling: Coupling, source: Value, weight: Value) -> None:
    axis, groups = op.channel_axis(source), op.attributes.get("groups") or 1
    out = op.outputs[0]
    coupling.count(weight, positions(out, axis))
    read, expected = coupling.atoms(source, axis), (weight.shape or ())[1] * groups
    if read.size != expected:
        raise NotFollowedError(f"it reads {read.size} channels, its weight is for {expected}")
    if groups > 1:
        coupling.set(out, axis, _grouped(op, coupling, weight, read))
        return
    coupling.couple(read, coupling.along(weight, 1, INPUT))
    coupling.set(out, axis, coupling.made(weight, 0))


def _grouped(op: Op, coupling: Coupling, weight: Value, read: np.ndarray) -> np.ndarray:
    """Couple what a grouped convolution needs, so that its weight stays rectangular; its output channels.

    Either whole conv-groups go, inputs and outputs together (a depthwise convolution is the extreme), or
    the same places go in every conv-group, for inputs and outputs independently. Whichever leaves more
    units is taken; whole conv-groups on a tie, as PaddleSlim does.
    """
    groups = op.attributes["groups"]
    each = read.size // groups
    if each <= groups:
        made = coupling.along(weight, 0, OUTPUT)
        _whole_groups(op, coupling, weight, made)
        for inputs, outputs in zip(read.reshape(groups, -1), made.reshape(groups, -1)):
            coupling.couple_all(np.concatenate([inputs, outputs]))
        return made
    made = coupling.made(weight, 0)
    for places in (read.reshape(groups, -1).T, made.reshape(groups, -1).T):
        for place in places:
            coupling.couple_all(place)
    coupling.couple(read[:each], coupling.along(weight, 1, INPUT))
    return made


def _whole_groups(op: Op, coupling: Coupling, weight: Value, blocks: np.ndarray) -> None:
    """Pin what cannot follow where whole conv-groups go: axis 1, should the weight be used elsewhere too.

    A layer's number of groups follows its weight; one that the network's own code names may not.
    """
    keys = {place[0] for place in coupling.view(weight) or () if place is not None}
    coupling.pin(coupling.along(weight, 1), f"{op} removes whole groups")
    if op.layer.rpartition("/")[2] not in {coupling.layer_weights.get(key, None) for key in keys}:
        coupling.fix(blocks, op)


@rule("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose", matrices=True)
def transposed_convolution(op: Op, coupling: Coupling) -> None:
    """Weight [in, out / groups, ...]: reads channels on axis 0, makes them on axis 1.

    With groups, whole conv-groups go: outputs and inputs of one are cut together, on axis 0.
    """
    source, weight, out = op["x"], weight_of(coupling, op["filter"]), op.outputs[0]
    axis, groups = op.channel_axis(source), op.attributes.get("groups") or 1
    coupling.count(weight, positions(source, axis))
    read = coupling.atoms(source, axis)
    if groups == 1:
        coupling.couple(read, coupling.along(weight, 0, INPUT))
        coupling.set(out, axis, coupling.made(weight, 1))
        return
    made = coupling.along(weight, 0, OUTPUT)
    _whole_groups(op, coupling, weight, made)
    coupling.couple(read, made)
    blocks = made.reshape(groups, -1)
    for block in blocks:
        coupling.couple_all(block)
    coupling.set(out, axis, np.repeat(blocks[:, 0], (out.shape or ())[axis] // groups))


@rule("batch_norm", "sync_batch_norm", "instance_norm")
def norm(op: Op, coupling: Coupling) -> None:
    """Statistics, scale and bias of each channel alone."""
    source = op["x"]
    axis = op.channel_axis(source)
    atoms = coupling.atoms(source, axis)
    for name in ("mean", "variance", "scale", "bias"):
        value = op.inputs.get(name)
        if value is not None:
            _follow(op, coupling, value, atoms)
    coupling.set(op.outputs[0], axis, atoms)


def _follow(op: Op, coupling: Coupling, value: Value, atoms: np.ndarray) -> None:
    """Couple a vector of one entry a channel with the channels."""
    found = coupling.channels(value)
    if found is None or len(found.atoms) != len(atoms):
        coupling.pin(atoms, f"{op} takes a vector that does not change with the channels")
    else:
        coupling.couple(atoms, found.atoms)


@rule("group_norm")
def group_norm(op: Op, coupling: Coupling) -> None:
    """Statistics over blocks of channels: without one of its channels a block changes, so whole blocks go."""
    source, groups = op["x"], int(op.attributes["groups"])
    axis = op.channel_axis(source)
    atoms = coupling.atoms(source, axis)
    if groups == 1:
        coupling.pin(atoms, f"{op} runs over its channels")
    if op.inputs.get("scale") is None:
        coupling.pin(atoms, f"{op} has no scale that its number of groups could follow")
    for block in atoms.reshape(groups, -1):
        coupling.couple_all(block)
    for name in ("scale", "bias"):
        value = op.inputs.get(name)
        if value is not None:
            _follow(op, coupling, value, atoms)
    coupling.fix(atoms, op)
    coupling.set(op.outputs[0], axis, atoms)


@rule("layer_norm", "rms_norm")
def norm_over_channels(op: Op, coupling: Coupling) -> None:
    """Statistics over several channels: without one of them the others change, so they stay."""
    source, out = next(op.values()), op.outputs[0]
    found = coupling.channels(source)
    begin = op.attributes.get("begin_norm_axis", 0)
    if found is not None and found.axis >= begin % source.rank:
        coupling.pin(found.atoms, f"{op} runs over its channels")
    for value in op.values():
        if value is not source:
            coupling.pin_value(value, f"{op} runs over its channels")
    carry(coupling, source, out)


@rule("prelu")
def prelu(op: Op, coupling: Coupling) -> None:
    """One slope for all, one a channel, or one an entry."""
    source, slope = op["x"], op["alpha"]
    mode = op.attributes.get("mode", "channel")
    if mode == "element":
        elementwise(op, coupling)
        return
    if mode == "all":
        coupling.pin_value(slope, f"{op} has one slope for all channels")
    else:
        axis = op.channel_axis(source)
        coupling.couple(coupling.atoms(source, axis), coupling.along(slope, slope.rank - 1))
    carry(coupling, source, op.outputs[0])
