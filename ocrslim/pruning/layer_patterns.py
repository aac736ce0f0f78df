"""Glob patterns over the names of layers, as `Prune.layers` and `Prune.skip` have them."""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import ConfigError
from ocrslim.graph import INPUT, ChannelGraph, Group, Member
from ocrslim.models import build_model, to_public

logger = logging.getLogger(__name__)

_EXAMPLES = 5
_NAMED = 12  # more names than these do not help
_EVERYTHING = "*"


def require_patterns(config: Config) -> None:
    """Refuse patterns of `Prune.layers` and `Prune.skip` that match no parameter of the architecture.

    Takes a fraction of a second, so that a typing error is found before images are read. Patterns that match only
    unprunable layers are found later, with the channel groups.

    Raises:
        ConfigError: a line for each such pattern.
    """
    options = config.prune
    patterns = {"Prune.layers": options.layers, "Prune.skip": options.skip}
    if all(pattern == _EVERYTHING for of_key in patterns.values() for pattern in of_key):
        return
    architecture = config.section("Architecture")
    keys = list(build_model(architecture).state_dict())
    problems = [
        f"{key}: {pattern!r} matches no layer of this network; {_hint(pattern, keys, architecture)}"
        for key, of_key in patterns.items()
        for pattern in of_key
        if not any(matches([pattern], name, architecture) for name in keys)
    ]
    if problems:
        raise ConfigError(problems)


def _hint(pattern: str, keys: Sequence[str], architecture: Mapping[str, Any]) -> str:
    """Suggest a similar name, else some examples."""
    names = [to_public(key, architecture) for key in keys if key.endswith(".weight")]
    near = difflib.get_close_matches(pattern, [*names, *keys], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    some = ", ".join(names[:: max(1, len(names) // _EXAMPLES)][:_EXAMPLES])
    return f"its layers have names such as {some}; the command `ocrslim groups` lists them"


def match_groups(graph: ChannelGraph, patterns: Sequence[str], architecture: Mapping[str, Any], key: str) -> list[str]:
    """Find the groups that match any of the glob `patterns`, by public name or state-dict key.

    Raises:
        ConfigError: a plain name is not a prunable layer, or nothing matches; the message names the setting `key`.
    """
    check_patterns(patterns, graph.groups, graph, architecture, key)
    matched = [name for name in graph.groups if matches(patterns, name, architecture)]
    if not matched:
        raise ConfigError(f"{key}: {list(patterns)} matches no prunable layer; {_choice(graph.groups, architecture)}")
    return matched


def check_patterns(
    patterns: Sequence[str], keys: Iterable[str], graph: ChannelGraph, architecture: Mapping[str, Any], key: str
) -> None:
    """Refuse plain names that are not in `keys`, with the reason or a similar name; warn of patterns without a match.

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
        if any(matches([name], member.key, architecture) for member in pruned_members(group)):
            return f"belongs to the group of {to_public(group.name, architecture)}: name that"
    for layer, reason in graph.unprunable.items():
        if matches([name], layer, architecture):
            return f"cannot be pruned: {reason}"
    if not keys:
        return "is no layer's name: this network has no prunable layer"
    return f"is no layer's name; {_hint(name, keys, architecture)}"


def pruned_members(group: Group) -> list[Member]:
    """The members whose layers lose channels with the group: all except those that read them."""
    return [member for member in group.members if member.role != INPUT]


def _choice(keys: Iterable[str], architecture: Mapping[str, Any]) -> str:
    names = [to_public(name, architecture) for name in keys]
    more = f" and {len(names) - _NAMED} more, which the command `ocrslim groups` lists" if len(names) > _NAMED else ""
    return f"expected glob patterns over: {', '.join(names[:_NAMED])}{more}" if names else "this network has none"


def matches(patterns: Sequence[str], name: str, architecture: Mapping[str, Any]) -> bool:
    """Tell whether the state-dict key `name` or its public name matches any of `patterns`."""
    spellings = (to_public(name, architecture), name)
    return any(fnmatch.fnmatchcase(spelling, pattern) for spelling in spellings for pattern in patterns)
