"""Cuts that a proof tries, and the full network with what they remove silenced, to compare with."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from paddle import Tensor, nn

from ocrslim.graph import INPUT, Group, Member
from ocrslim.pruning.plan import Cut, combine

Choice = Callable[[Group], set[int]]


def cuts_at_random(groups: Iterable[Group]) -> tuple[Cut, ...]:
    """Return the cuts that remove a third of the units of each group."""
    return cuts_of(groups, at_random)


def every(step: int) -> Choice:
    """Choose every `step`-th unit: even numbers of channels may suit a network's code by chance, so may others."""
    return lambda group: set(range(step - 1, group.size, step))


def at_random(group: Group) -> set[int]:
    """Choose a third of the units, others in each group, and more of the first ones than of the last.

    Cuts that take as many of each block of channels suit code that treats blocks differently.
    """
    rng = np.random.default_rng(zlib.crc32(group.name.encode()))
    odds = np.arange(group.size, 0, -1.0) ** 2
    return set(rng.choice(group.size, max(1, group.size // 3), replace=False, p=odds / odds.sum()).tolist())


def cuts_of(groups: Iterable[Group], choice: Choice) -> tuple[Cut, ...]:
    """Return the cuts that remove the units of each group that `choice` names."""
    return combine(cut for group in groups for cut in _without_units(group, choice(group)))


def _without_units(group: Group, removed: set[int]) -> Iterator[Cut]:
    """Cuts that remove the units `removed`, but none that a member would be empty without."""
    for member in group.members:
        reaching = [unit for unit, positions in enumerate(member.units) if positions]
        if reaching and removed.issuperset(reaching):
            removed.discard(reaching[0])
    for member in group.members:
        keep = member.keep(removed)
        if len(keep) < member.size:
            yield Cut(member.key, member.axis, member.size, keep)


@contextmanager
def silenced(model: nn.Layer, cuts: Iterable[Cut], groups: Sequence[Group]) -> Iterator[None]:
    """Zero the removed channels in the members that read them, inside the block."""
    reads = {(member.key, member.axis) for group in groups for member in _readers(group)}
    parameters: Mapping[str, Tensor] = dict(model.named_parameters())
    cuts = [cut for cut in cuts if (cut.key, cut.axis) in reads and cut.key in parameters]
    before = {cut.key: parameters[cut.key].numpy().copy() for cut in cuts}
    try:
        for cut in cuts:
            values = parameters[cut.key].numpy().copy()
            removed = sorted(set(range(cut.size)) - set(cut.keep))
            values[(slice(None),) * cut.axis + (removed,)] = 0
            parameters[cut.key].set_value(values)
        yield
    finally:
        for key, values in before.items():
            parameters[key].set_value(values)


def _readers(group: Group) -> Sequence[Member]:
    """Members that read the channels; all members where these are not all that reads them (queries and keys meet)."""
    readers = () if group.summed else [member for member in group.members if member.role == INPUT]
    return readers or group.members
