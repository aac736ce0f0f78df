"""Channel groups as plain values: no framework in here, so tests can build them by hand.

Worked example: `conv1 -> batch_norm -> conv2`. The output channels of conv1 form one group with
three kinds of members: axis 0 of conv1's weight, axis 0 of the four vectors of the batch norm, and
axis 1 of conv2's weight. Removing channel 5 removes index 5 of every member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Member:
    """One axis of one parameter that loses entries when its group loses channels.

    Attributes:
        key: state-dict key of the parameter.
        axis: the axis that is cut.
        size: entries along that axis before any pruning.
        transforms: how a mask over the group's channels becomes a mask over this axis, in order; each
            entry is a mapping in PaddleSlim's vocabulary (empty: the same mask).
        conv_groups: `groups` of the convolution that owns the parameter, 1 for everything else.
    """

    key: str
    axis: int
    size: int
    transforms: tuple[Mapping[str, Any], ...] = ()
    conv_groups: int = 1


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    Attributes:
        name: state-dict key of the weight of the first convolution that produces them (the master).
        size: number of channels.
        members: every (parameter, axis) that follows, the master first.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    @property
    def axis(self) -> int:
        """The axis of the master's weight that holds its output channels."""
        return self.members[0].axis

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.size} channels"]
        lines += [f"  -> {m.key} axis {m.axis} ({m.size})" for m in self.members]
        return "\n".join(lines)


@dataclass(frozen=True)
class ChannelGraph:
    """The groups of a network by name, in the order of their layers, and why the other layers have none.

    Attributes:
        groups: group name -> group.
        unprunable: state-dict key of a convolution's weight -> reason.
    """

    groups: Mapping[str, Group]
    unprunable: Mapping[str, str]


def keep_indices(mask: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    """The positions that a 0/1 mask keeps."""
    return tuple(int(i) for i in np.flatnonzero(np.asarray(mask)))
