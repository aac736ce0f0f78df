"""`-o Section.key=value`: PaddleOCR's way of changing a configuration from the command line."""

from __future__ import annotations

import copy
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocrslim.config.schema import ALIASES
from ocrslim.config.yaml_reader import is_read_whole, parse_yaml
from ocrslim.utils import name_fault, shortened

Exclusive = Mapping[str, Sequence[Sequence[str]]]  # `TaskSchema.exclusive`
_MOST_PARTS = 20  # of a dotted key
_MOST_SHOWN = 200  # characters of an override in a message


@dataclass(frozen=True)
class Override:
    """One change of the value at the dotted `key`, which is canonical while its `spelling` may be an alias."""

    key: str
    value: Any
    spelling: str
    source: str  # opens messages: `-o Global.seed=3`
    raw: str = ""  # the value as it was typed


def parse_overrides(texts: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Parse `key=value` texts, values as YAML: (the overrides in order, what is wrong)."""
    overrides: list[Override] = []
    problems: list[str] = []
    for text in texts:
        source = "-o " + shortened(" ".join(text.split()), _MOST_SHOWN)
        key, equals, raw = (part.strip() for part in text.partition("="))
        faults = [f"{source}: {fault}" for fault in _form_faults(key, equals, raw)]
        value = None
        if not faults:
            value, faults = parse_yaml(raw, source)
            faults = [_with_quotes(fault.replace(", line 1, column 1:", ":", 1), key, raw) for fault in faults]
            faults += [f"{source}: {fault}" for fault in _joined_keys(value)]
        problems += faults
        for spelling, item in [] if faults else _spread(key, value):
            override = Override(ALIASES.get(spelling, spelling), item, spelling, source, raw)
            problems += _dispute(overrides, override)
            overrides.append(override)
    return overrides, problems


def quoted(key: str, raw: str) -> str:
    """Return the shell option that gives `raw` as text; "..." stands for a long one."""
    if len(raw) > _MOST_SHOWN:
        raw = "..."
    if set(raw) & set("\"\\'"):
        return "-o " + shlex.quote(f"{key}='" + raw.replace("'", "''") + "'")
    return f"-o '{key}=\"{raw}\"'"


def _form_faults(key: str, equals: str, raw: str) -> list[str]:
    """List the faults in the form of an override, before its value is parsed."""
    fault = name_fault(key)
    if fault:
        return [f"the key {fault}"]
    if not equals or not all(key.split(".")) or key.count(".") >= _MOST_PARTS:
        return ["expected Section.key=value, such as Global.epoch_num=10"]
    if raw == "~":
        return ["YAML reads ~ as nothing; write the path of the home folder out, or leave the value empty"]
    if not is_read_whole(raw):
        return [f"YAML reads only a part of the value, since # and & mean something there: {quoted(key, raw)}"]
    return []


def _joined_keys(value: Any) -> list[str]:
    """List the keys in a value that swallowed theirs, as that of `{a:1}` does."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    faults = []
    for key, item in inner:
        if item is None and isinstance(key, str) and re.fullmatch(r"\w+:\S+", key):
            name, _, rest = key.partition(":")
            faults.append(f"YAML reads {shortened(key)} as one word: put a space after the colon: {name}: {rest}")
        faults += _joined_keys(item)
    return faults


def _with_quotes(fault: str, key: str, raw: str) -> str:
    """Add to a fault how to quote the value, unless a tag asked for another type."""
    return f"{fault}: {quoted(key, raw)}" if fault.endswith("in quotes") and not raw.startswith("!") else fault


def _spread(key: str, value: Any) -> list[tuple[str, Any]]:
    """Split a mapping given to a whole section: only the keys that it has change, as in PaddleOCR."""
    if "." in key or not isinstance(value, dict):
        return [(key, value)]
    return [(f"{key}.{name}", item) for name, item in value.items()]


def _dispute(earlier: Sequence[Override], override: Override) -> list[str]:
    """Both spellings of one key with different values; of one spelling given twice the last counts."""
    for other in earlier:
        same = other.key == override.key and other.value == override.value
        if other.key == override.key and other.spelling != override.spelling and not same:
            return [f"{override.source}: contradicts {other.source}; both name {override.key}: keep one"]
    return []


def lookup(tree: Any, key: str, default: Any = None) -> Any:
    """Return the value at the dotted `key`, `default` where there is none; list items as in `-o`."""
    for part in key.split("."):
        try:
            holder, name = _step(tree, part)
            tree = holder[name]
        except (LookupError, ValueError):
            return default
    return tree


def apply_override(tree: dict[str, Any], override: Override, exclusive: Exclusive | None = None) -> list[str]:
    """Change `tree` in place; returns what is wrong. Unknown keys are set: the schema reports them later."""
    parts = override.key.split(".")
    place: Any = tree
    for depth, part in enumerate(parts):
        try:
            holder, name = _step(place, part)
        except ValueError as error:
            return [f"{override.source}: {'.'.join(parts[:depth])} {error}"]
        if depth == len(parts) - 1:
            holder[name] = copy.deepcopy(override.value)
            return _without_effect(holder, parts, override, exclusive or {})
        if isinstance(holder, dict) and holder.get(name) is None:
            holder[name] = {}
        place = holder[name]
    return []


def _step(container: Any, part: str) -> tuple[Any, Any]:
    """Find the entry that `part` names: a mapping and its key, or a list and its index.

    Raises:
        ValueError: there is none; the message says why.
    """
    if isinstance(container, dict):
        return container, part
    if not isinstance(container, list):
        raise ValueError(f"is {shortened(repr(container))}, which has no keys")
    if part.isdecimal():
        if len(part) > 6 or int(part) >= len(container):
            raise ValueError(f"has {len(container)} items, counted from 0: there is no item {shortened(part)}")
        return container, int(part)
    places = [index for index, item in enumerate(container) if isinstance(item, dict) and part in item]
    if len(places) == 1:
        return container[places[0]], part
    if places:
        raise ValueError(f"has {part} {len(places)} times: name one as {places[0]}.{part}, items count from 0")
    names = [str(name) for item in container if isinstance(item, dict) for name in item]
    nearest = difflib.get_close_matches(part, names, n=1)
    hint = f"; nearest: {nearest[0]}" if nearest else f"; it has {', '.join(names)}" if names else ""
    raise ValueError(f"has no item {shortened(part)}{hint}")


def _without_effect(options: Any, parts: Sequence[str], override: Override, exclusive: Exclusive) -> list[str]:
    """Find an argument that PaddleOCR would ignore silently because another one overrides it."""
    transform = parts[-2] if len(parts) > 1 else ""
    groups = list(exclusive.get(transform, ()))
    place = next((place for place, group in enumerate(groups) if parts[-1] in group), 0)
    stronger = next((group[0] for group in groups[:place] if group[0] in options), None)
    if stronger is None:
        return []
    whole = f"{'.'.join(parts[:-1])}={{{parts[-1]}: {override.value}}}"
    return [
        f"{override.source}: without effect, since {transform} has {stronger}={options[stronger]} "
        f"and PaddleOCR obeys that one; replace its options as a whole: -o '{whole}'"
    ]
