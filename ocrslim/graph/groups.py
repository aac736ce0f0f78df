"""Channel groups as plain values: no framework in here, so tests can build them by hand.

Worked example: `conv1 -> batch_norm -> conv2`. The output channels of conv1 form one group with
three kinds of members: axis 0 of conv1's weight (its output), axis 0 of the four vectors of the batch norm
(they follow), and axis 1 of conv2's weight (its input). Removing channel 5 removes index 5 of every member.

With `concat([conv1, conv3]) -> conv2` the members of conv3's group hold other positions: its channel 5 is
index (channels of conv1) + 5 of conv2's axis 1. So a group is a list of *units*, the smallest things that
can go alone, and each member says which of its positions belong to each unit: one position for most,
several where channels go together (49 behind the flattening of a 7x7 map), none where a unit does not
reach.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

OUTPUT, INPUT, FOLLOWS = "output", "input", "follows"


@dataclass(frozen=True)
class Member:
    """One axis of one parameter that loses entries when its group loses channels.

    Attributes:
        key: state-dict key of the parameter.
        axis: the axis that is cut.
        size: entries along that axis before any pruning.
        units: positions along the axis that belong to each unit of the group; a position of no unit stays.
        role: `OUTPUT`, the axis of a convolution's or linear layer's weight that makes the channels;
            `INPUT`, one that reads them; `FOLLOWS`, everything that works on each channel alone.
    """

    key: str
    axis: int
    size: int
    units: tuple[tuple[int, ...], ...]
    role: str = FOLLOWS

    def keep(self, removed: Collection[int]) -> tuple[int, ...]:
        """Return the positions that stay when the units `removed` go, ascending."""
        gone = {position for unit in removed for position in self.units[unit]}
        return tuple(position for position in range(self.size) if position not in gone)

    def __str__(self) -> str:
        return f"{self.key}{self.place()}"

    def place(self) -> str:
        """Format the place of its channels as an index of the parameter: `[:, 72:96]`."""
        return f"[{':, ' * self.axis}{self.slices()}]"

    def slices(self) -> str:
        """Return the positions of all units as slices: `0:24`, or `3, 8:12`."""
        positions = sorted({position for unit in self.units for position in unit})
        return ", ".join(str(start) if stop == start + 1 else f"{start}:{stop}" for start, stop in _runs(positions))


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together, unit by unit.

    Attributes:
        name: state-dict key of the weight of the first convolution that makes them (the master); of the
            first linear layer where no convolution does.
        members: every (parameter, axis) that follows, the master first.
        fixed_by: operators on the way that name a number of channels, so that the network's code may not
            bear another one; such a group is proven by running it.
        summed: whether an operator without weights sums over the channels, as a product of queries and keys does.
            Zeros in the weights that read them do not silence such channels, zeros in all that goes do.
    """

    name: str
    members: tuple[Member, ...]
    fixed_by: tuple[str, ...] = ()
    summed: bool = False

    @property
    def master(self) -> Member:
        """The member that gives the group its name."""
        return self.members[0]

    @property
    def axis(self) -> int:
        """The axis of the master's weight that holds its output channels."""
        return self.master.axis

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.master.units)

    @property
    def channels(self) -> int:
        """Channels of the master that can go: `size` where each unit is one of its channels."""
        return sum(map(len, self.master.units))

    def __str__(self) -> str:
        """One line a member: this slice of the master -> that slice of the member, and what it is there."""
        return "\n".join(f"{self.master} -> {member}  ({member.role})" for member in self.members)


@dataclass(frozen=True)
class Layer:
    """A convolution, linear or recurrent layer that inference runs, or a product of activations.

    Every entry of its weight is multiplied `positions` times in one forward pass: once for each output
    position of a convolution or linear layer, once for each input position of a transposed convolution, once
    for each step of a recurrent layer. A product of activations, as of queries and keys, has no weight: it is
    `positions` multiplications for each of the channels `per` that it sums over or carries.

    Attributes:
        key: state-dict key of its weight; empty for a product of activations.
        shape: of its weight; () without.
        positions: batch and space, channels aside.
        per: for a product of activations, and a layer that runs over each of some channels alone (a linear layer
            over the places of a map): those channels, each by an entry (key, axis, index) of a parameter that goes
            when it goes.
        kind: what it is, as `ocrslim.graph.depth` has it; empty where that is not known.
        block: number of the block that it lies in, counted from the input; 0 where that is not known.
    """

    key: str
    shape: tuple[int, ...]
    positions: int
    per: tuple[tuple[str, int, int], ...] = ()
    kind: str = ""
    block: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass."""
        return self.positions * max(1, len(self.per)) * math.prod(self.shape)


@dataclass(frozen=True)
class ChannelGraph:
    """The groups of a network by name, in the order of their layers, and why the other layers have none.

    Attributes:
        groups: group name -> group.
        unprunable: state-dict key of a weight that makes channels (a convolution's, a linear or recurrent layer's) ->
            reason.
        layers: layers with weights and products of activations that inference runs, in that order; one that runs
            twice, twice.
        trainable: shape of each trainable parameter that inference uses, by state-dict key.
        uncounted: operators whose MACs are not known before they run, such as loops that depend on the data; they
            are not among `layers`.
        training_fault: why the network's training could not be looked at; empty where it was. Such a network can be
            cut, but may not train afterwards.
    """

    groups: Mapping[str, Group]
    unprunable: Mapping[str, str]
    layers: tuple[Layer, ...] = ()
    trainable: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    training_fault: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of inference at the traced input shape."""
        return sum(layer.macs for layer in self.layers)

    def macs_of(self, group: Group) -> int:
        """Return the MACs of the layers whose channels are in `group`, all of them or some: those that they make.

        Of a layer without weights, and of one that runs over each channel alone, the channels that it runs over.
        """
        return self._macs_in([group])

    @property
    def prunable_macs_share(self) -> float:
        """Share (0..1) of the MACs that lies in layers whose output channels are in a group, as `macs_of` has them."""
        return self._macs_in(self.groups.values()) / max(1, self.macs)

    def _macs_in(self, groups: Iterable[Group]) -> int:
        members = [member for group in groups for member in group.members]
        made = {member.key for member in members if member.role == OUTPUT}
        entries = {(m.key, m.axis, position) for m in members for unit in m.units for position in unit}
        return sum(layer.macs for layer in self.layers if layer.key in made or not entries.isdisjoint(layer.per))


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = previous = None
    for position in positions:
        if start is None or previous is None:
            start = position
        elif position != previous + 1:
            yield start, previous + 1
            start = position
        previous = position
    if start is not None and previous is not None:
        yield start, previous + 1
