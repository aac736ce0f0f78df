"""Glob patterns over the names of layers, as `Prune.layers` and `Prune.skip` have them."""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocrslim.errors import ConfigError
from ocrslim.graph.groups import INPUT, ChannelGraph, Group, Member
from ocrslim.models.names import to_public

logger = logging.getLogger(__name__)


def match_groups(graph: ChannelGraph, patterns: Sequence[str], architecture: Mapping[str, Any], key: str) -> list[str]:
    """Names of the groups that match any of the glob `patterns`, by public name or state-dict key.

    Raises:
        ConfigError: a name is no prunable layer's, or nothing matches; `key` names the setting it came from.
    """
    check_patterns(patterns, graph.groups, graph, architecture, key)
    matched = [name for name in graph.groups if matches(patterns, name, architecture)]
    if not matched:
        raise ConfigError(f"{key}: {list(patterns)} matches no prunable layer; {_choice(graph.groups, architecture)}")
    return matched


def check_patterns(
    patterns: Sequence[str], keys: Iterable[str], graph: ChannelGraph, architecture: Mapping[str, Any], key: str
) -> None:
    """Refuse a plain name that none of `keys` has, saying why or which is nearest; warn of an idle pattern.

    Raises:
        ConfigError: such a name.
    """
    keys = list(keys)
    for pattern in patterns:
        if any(matches([pattern], name, architecture) for name in keys):
            continue
        if set(pattern) & set("*?["):
            logger.warning("%s: %r matches no layer", key, pattern)
            continue
        raise ConfigError(f"{key}: {pattern!r} {_why_unknown(pattern, keys, graph, architecture)}")


def _why_unknown(name: str, keys: Sequence[str], graph: ChannelGraph, architecture: Mapping[str, Any]) -> str:
    for group in graph.groups.values():
        if any(matches([name], member.key, architecture) for member in losing(group)):
            return f"goes with {to_public(group.name, architecture)}: name that"
    for layer, reason in graph.unprunable.items():
        if matches([name], layer, architecture):
            return f"cannot be pruned: {reason}"
    names = [to_public(key, architecture) for key in keys]
    nearest = difflib.get_close_matches(name, [*names, *keys], n=1, cutoff=0.0)
    if not nearest:
        return "is no layer's name: this network has no prunable layer"
    return f"is no layer's name; did you mean {nearest[0]!r}?"


def losing(group: Group) -> list[Member]:
    """The members whose layers lose channels with the group: all but those that read them."""
    return [member for member in group.members if member.role != INPUT]


def _choice(keys: Iterable[str], architecture: Mapping[str, Any]) -> str:
    names = ", ".join(to_public(name, architecture) for name in keys)
    return f"expected glob patterns over: {names}" if names else "this network has none"


def matches(patterns: Sequence[str], name: str, architecture: Mapping[str, Any]) -> bool:
    """Whether the state-dict key `name` or its public name matches any of `patterns`."""
    spellings = (to_public(name, architecture), name)
    return any(fnmatch.fnmatchcase(spelling, pattern) for spelling in spellings for pattern in patterns)
