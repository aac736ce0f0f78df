"""How much of each group to remove, decided from the sensitivity table."""

from __future__ import annotations

import difflib
import fnmatch
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ocrslim.artifacts import Sensitivities
from ocrslim.config import PruneOptions
from ocrslim.errors import ConfigError
from ocrslim.graph.groups import INPUT, ChannelGraph, Group, Member
from ocrslim.models.names import to_public

logger = logging.getLogger(__name__)

_BLOCK = re.compile(r"conv(\d+)_")


@dataclass(frozen=True)
class Selection:
    """Ratios by group name, and why the other layers are left alone; both by state-dict key."""

    ratios: Mapping[str, float]
    skipped: Mapping[str, str]


def select(
    graph: ChannelGraph, table: Sensitivities, options: PruneOptions, architecture: Mapping[str, Any]
) -> Selection:
    """Choose each group's ratio by `Prune.loss_tolerance`, as PaddleSlim does, skipping as documented.

    Left alone are: groups with a member in the first `skip_first` blocks, names that match `skip`,
    groups that the table does not hold, and groups that lose more than `skip_loss` at `skip_ratio`.
    What only reads a group's channels keeps its own whether they go or not, and counts for neither skip.

    Args:
        table: {state-dict key of the group: {ratio: loss}}.
        architecture: the `Architecture` section, for the public names that patterns match.

    Raises:
        ConfigError: `Prune.skip` names a layer that does not exist.
    """
    members = [member.key for group in graph.groups.values() for member in group.members]
    _check_patterns(options.skip, [*members, *graph.unprunable], graph, architecture, "Prune.skip")
    skipped = dict(graph.unprunable)
    ratios = {}
    for name, group in graph.groups.items():
        reason = _skip_reason(group, table.get(name, {}), options, architecture)
        if reason:
            skipped[name] = reason
            continue
        tolerated = ratio_by_loss(table[name], options.loss_tolerance)
        ratio = permitted(tolerated, group, options)
        if ratio > 0:
            ratios[name] = ratio
        elif tolerated > 0:
            skipped[name] = _why_none(tolerated, group, options)
        else:
            skipped[name] = f"every measured ratio loses more than Prune.loss_tolerance {options.loss_tolerance:g}"
    return Selection(ratios, skipped)


def loss_of(baseline: float, score: float) -> float:
    """Relative loss as PaddleSlim 2.6 defines it (`FilterPruner._cal_sensitive`)."""
    return (baseline - score) / (baseline + 1e-3)


def ratio_by_loss(losses: Mapping[float, float], tolerance: float) -> float:
    """The largest ratio whose loss is within `tolerance`, interpolated towards the next measured one.

    PaddleSlim's rule (`paddleslim.prune.get_ratios_by_loss`), 0 where no measured ratio is within.
    """
    from paddleslim.prune import get_ratios_by_loss

    return float(get_ratios_by_loss({"layer": dict(losses)}, tolerance).get("layer", 0.0))


def permitted(ratio: float, group: Group, options: PruneOptions) -> float:
    """The ratio nearest below `ratio` that `Prune.align` and `Prune.min_channels` permit for `group`.

    Both count channels of the layer that names the group: it keeps a multiple of `align`, unless its units
    permit none at all (three channels each, say, and one more that always stays), and not fewer than
    `min_channels`. Units of unequal size count as their mean.
    """
    most = min(group.size - 1, round(group.size * ratio))
    size, width, align = group.master.size, group.channels / group.size, options.align or 1
    kept = [size - count * width for count in range(group.size)]
    counts = range(1, group.size)
    aligned = [count for count in counts if kept[count] % align == 0]
    fitting = aligned if aligned or size <= align else counts
    return max((n for n in fitting if n <= most and kept[n] >= options.min_channels), default=0) / group.size


def _why_none(ratio: float, group: Group, options: PruneOptions) -> str:
    """Which of the settings keeps `permitted` from any ratio up to `ratio`; none, where all are off."""
    asked = f"ratio {ratio:.3f} of {group.master.size} channels is less than"
    if not permitted(ratio, group, replace(options, align=None, min_channels=1)):
        return f"{asked} one unit: there are {group.size} that can go, and one always stays"
    if not permitted(ratio, group, replace(options, align=None)):
        return f"Prune.min_channels {options.min_channels} lets none of {group.master.size} channels go"
    if not permitted(ratio, group, replace(options, min_channels=1)):
        return f"{asked} a step of Prune.align {options.align}"
    return (
        f"Prune.align {options.align} and Prune.min_channels {options.min_channels} together let none "
        f"of {group.master.size} channels go"
    )


def match_groups(graph: ChannelGraph, patterns: Sequence[str], architecture: Mapping[str, Any], key: str) -> list[str]:
    """Names of the groups that match any of the glob `patterns`, by public name or state-dict key.

    Raises:
        ConfigError: a name is no prunable layer's, or nothing matches; `key` names the setting it came from.
    """
    _check_patterns(patterns, graph.groups, graph, architecture, key)
    matched = [name for name in graph.groups if _matches(patterns, name, architecture)]
    if not matched:
        raise ConfigError(f"{key}: {list(patterns)} matches no prunable layer; {_choice(graph.groups, architecture)}")
    return matched


def _check_patterns(
    patterns: Sequence[str], keys: Iterable[str], graph: ChannelGraph, architecture: Mapping[str, Any], key: str
) -> None:
    """Refuse a plain name that none of `keys` has, saying why or which is nearest; warn of an idle pattern.

    Raises:
        ConfigError: such a name.
    """
    keys = list(keys)
    for pattern in patterns:
        if any(_matches([pattern], name, architecture) for name in keys):
            continue
        if set(pattern) & set("*?["):
            logger.warning("%s: %r matches no layer", key, pattern)
            continue
        raise ConfigError(f"{key}: {pattern!r} {_why_unknown(pattern, keys, graph, architecture)}")


def _why_unknown(name: str, keys: Sequence[str], graph: ChannelGraph, architecture: Mapping[str, Any]) -> str:
    for group in graph.groups.values():
        if any(_matches([name], member.key, architecture) for member in _losing(group)):
            return f"goes with {to_public(group.name, architecture)}: name that"
    for layer, reason in graph.unprunable.items():
        if _matches([name], layer, architecture):
            return f"cannot be pruned: {reason}"
    names = [to_public(key, architecture) for key in keys]
    nearest = difflib.get_close_matches(name, [*names, *keys], n=1, cutoff=0.0)
    if not nearest:
        return "is no layer's name: this network has no prunable layer"
    return f"is no layer's name; did you mean {nearest[0]!r}?"


def _losing(group: Group) -> list[Member]:
    """The members whose layers lose channels with the group: all but those that read them."""
    return [member for member in group.members if member.role != INPUT]


def _choice(keys: Iterable[str], architecture: Mapping[str, Any]) -> str:
    names = ", ".join(to_public(name, architecture) for name in keys)
    return f"expected glob patterns over: {names}" if names else "this network has none"


def _matches(patterns: Sequence[str], name: str, architecture: Mapping[str, Any]) -> bool:
    spellings = (to_public(name, architecture), name)
    return any(fnmatch.fnmatchcase(spelling, pattern) for spelling in spellings for pattern in patterns)


def _skip_reason(
    group: Group, losses: Mapping[float, float], options: PruneOptions, architecture: Mapping[str, Any]
) -> str | None:
    losing = _losing(group)
    for name in (to_public(member.key, architecture) for member in losing):
        block = _BLOCK.match(name)
        if block and int(block[1]) <= options.skip_first:
            return f"close to the input: {name} lies in the first {options.skip_first} blocks (Prune.skip_first)"
    for member in losing:
        for pattern in options.skip:
            if _matches([pattern], member.key, architecture):
                return f"Prune.skip: {pattern!r} matches {to_public(member.key, architecture)}"
    if not losses:
        return "not in the sensitivity table"
    loss = loss_at(losses, options.skip_ratio)
    if loss > options.skip_loss:
        return (
            f"sensitive: loses {loss:.4f} at ratio {options.skip_ratio:g}, "
            f"more than Prune.skip_loss {options.skip_loss:g}"
        )
    return None


def loss_at(losses: Mapping[float, float], ratio: float) -> float:
    """Loss at `ratio`, linear between the measured ratios and from (0, 0); the last one beyond them."""
    points = [(0.0, 0.0), *sorted(losses.items())]
    for (r0, l0), (r1, l1) in zip(points, points[1:]):
        if ratio <= r1:
            return l0 + (l1 - l0) * (ratio - r0) / (r1 - r0)
    return points[-1][1]
