"""Rules for layers with weights: convolutions, linear and recurrent layers, norms, PReLU."""

from __future__ import annotations

import math

import numpy as np

from ocrslim.graph.coupling import Channels, Coupling
from ocrslim.graph.groups import INPUT, OUTPUT
from ocrslim.graph.program import Op, Value
from ocrslim.graph.rules.registry import NotFollowedError, carry, elementwise, rule


def _weight(coupling: Coupling, value: Value) -> Value:
    view = coupling.view(value)
    if view is None or None in view[:2]:
        raise NotFollowedError("its weight is computed, not a parameter")
    return value


def _positions(value: Value, axis: int) -> int:
    """Batch and space of `value`: all its axes but the one of its channels."""
    shape = [size for index, size in enumerate(value.shape or ()) if index != axis]
    if min(shape, default=0) < 0:
        raise NotFollowedError("its size is only known when it runs")
    return math.prod(shape)


@rule("conv2d", "depthwise_conv2d", "conv3d", matrices=True)
def convolution(op: Op, coupling: Coupling) -> None:
    """Weight [out, in / groups, ...]: reads channels on axis 1, makes them on axis 0."""
    source, weight = op["input"], _weight(coupling, op["filter"])
    _convolve(op, coupling, source, weight)


@rule("deformable_conv", matrices=True)
def deformable(op: Op, coupling: Coupling) -> None:
    """A convolution; offsets and mask belong to places of its kernel, not to channels."""
    weight = _weight(coupling, op["filter"])
    for name in ("offset", "mask"):
        value = op.inputs.get(name)
        if value is not None:
            coupling.pin_value(value, f"{name} of {op}: one value for each place of the kernel")
    _convolve(op, coupling, op["x"], weight)


def _convolve(op: Op, coupling: Coupling, source: Value, weight: Value) -> None:
    axis, groups = op.channel_axis(source), op.attributes.get("groups") or 1
    out = op.outputs[0]
    coupling.count(weight, _positions(out, axis))
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
    source, weight, out = op["x"], _weight(coupling, op["filter"]), op.outputs[0]
    axis, groups = op.channel_axis(source), op.attributes.get("groups") or 1
    coupling.count(weight, _positions(source, axis))
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


@rule("matmul", "bmm", matrices=True)
def matmul(op: Op, coupling: Coupling) -> None:
    """A linear layer where the second operand is a matrix of parameters; else a product of activations.

    Attention divides such products by a function of the number of channels, which the trace shows as a
    literal: a product over channels is noted as fixing it.
    """
    x, y = op["x"], op["y"]
    if min(x.rank, y.rank) < 2:
        raise NotFollowedError("a product with a vector")
    x_reads, y_reads = x.rank - 1, y.rank - 2
    if op.attributes.get("transpose_x"):
        x_reads -= 1
    if op.attributes.get("transpose_y"):
        y_reads += 1
    if coupling.view(y) is not None and y.rank == 2 and coupling.view(x) is None:
        _linear(op, coupling, x_reads, y_reads)
    else:
        _product(op, coupling, x_reads, y_reads)


def _linear(op: Op, coupling: Coupling, x_reads: int, y_reads: int) -> None:
    x, weight, out = op["x"], _weight(coupling, op["y"]), op.outputs[0]
    found = coupling.channels(x)
    read, made = coupling.along(weight, y_reads, INPUT), coupling.made(weight, 1 - y_reads)
    positions = _positions(out, out.rank - 1)
    if found is not None and found.axis != x_reads:
        coupling.count(weight, positions // len(found.atoms), per=found.atoms)
        for atoms in (read, made):
            coupling.pin(atoms, f"{op} runs over positions: what it makes are not channels")
        coupling.set(out, min(found.axis, out.rank - 2), found.atoms)
        return
    coupling.count(weight, positions)
    coupling.couple(coupling.atoms(x, x_reads), read)
    coupling.set(out, out.rank - 1, made)


def _product(op: Op, coupling: Coupling, x_reads: int, y_reads: int) -> None:
    x, y, out = op["x"], op["y"], op.outputs[0]
    if coupling.view(x) is not None or coupling.view(y) is not None:
        raise NotFollowedError("a parameter in a product that is no linear layer")
    contracted, carried = [], []
    for value, reads, free in ((x, x_reads, out.rank - 2), (y, y_reads, out.rank - 1)):
        found = coupling.channels(value)
        if found is not None and found.axis == reads:
            contracted.append(found.atoms)
        elif found is not None:
            batch = found.axis < value.rank - 2
            carried.append(Channels(found.axis + out.rank - value.rank if batch else free, found.atoms))
    if len(contracted) == 1:
        coupling.pin(contracted[0], f"{op} sums over its channels with values that are not channels")
    elif contracted:
        coupling.couple(*contracted)
        coupling.fix(contracted[0], op)
        coupling.sum_over(contracted[0], op)
    _carry_product(op, coupling, carried)


def _carry_product(op: Op, coupling: Coupling, carried: list[Channels]) -> None:
    out = op.outputs[0]
    batches = [channels.axis < out.rank - 2 for channels in carried]
    if len(carried) == 2 and all(batches) and carried[0].axis == carried[1].axis:
        coupling.couple(carried[0].atoms, carried[1].atoms)
    elif len(carried) == 2 or any(batches):
        for channels in carried:
            coupling.pin(channels.atoms, f"{op} makes every pair of its channels")
    if carried:
        coupling.set(out, carried[0].axis, carried[0].atoms)
    else:
        coupling.set_opaque(out, f"{op} of activations")


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


@rule("rnn", matrices=True)
def recurrent(op: Op, coupling: Coupling) -> None:
    """LSTM and GRU: the first layer's input weights [gates, in] read channels; hidden states stay whole.

    The list of weights holds, layer by layer and direction by direction, input and hidden weights first.
    """
    source, weights = op["x"], coupling.items(op["weight_list"])
    directions = 2 if op.attributes.get("is_bidirec") else 1
    first = weights[: 2 * directions : 2]
    atoms = coupling.atoms(source, source.rank - 1)
    reason = f"hidden state of {op}"
    for weight in first:
        coupling.couple(atoms, coupling.along(weight, 1, INPUT))
        coupling.pin(coupling.along(weight, 0), reason)
    read_once = {weight.id for weight in first}
    for value in (*weights, *coupling.items(op["pre_state"])):
        if value.id not in read_once:
            coupling.pin_value(value, reason)
    for value in op.outputs:
        coupling.set_opaque(value, reason)
