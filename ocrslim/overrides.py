"""`-o Section.key=value`: PaddleOCR's way of changing a configuration from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ocrslim.schema import ALIASES
from ocrslim.yamlfile import parse_yaml

# PaddleOCR's DetResizeForTest obeys the first of these that is set and ignores the others.
_RESIZE = "DetResizeForTest"
_RESIZE_MODES = ("image_shape", "limit_side_len", "resize_long")


@dataclass(frozen=True)
class Override:
    """One change: the dotted `key` with aliases resolved, the parsed value, the text as typed."""

    key: str
    value: Any
    text: str


def parse_overrides(texts: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Parse `key=value` texts, values as YAML: (the overrides in order, what is wrong)."""
    overrides: list[Override] = []
    problems: list[str] = []
    for text in texts:
        key, equals, raw = (part.strip() for part in text.partition("="))
        if not equals or not key:
            problems.append(f"-o {text}: no '=' between a key and a value, expected Section.key=value")
            continue
        value, faults = parse_yaml(raw, f"-o {text}")
        problems += faults
        if faults:
            continue
        for name, item in _spread(key, value):
            override = Override(ALIASES.get(name, name), item, text)
            problems += _dispute(overrides, override, name)
            overrides.append(override)
    return overrides, problems


def _spread(key: str, value: Any) -> list[tuple[str, Any]]:
    """A mapping given to a whole section changes the keys it names and no other, as in PaddleOCR."""
    if "." in key or not isinstance(value, dict):
        return [(key, value)]
    return [(f"{key}.{name}", item) for name, item in value.items()]


def _dispute(earlier: Sequence[Override], override: Override, name: str) -> list[str]:
    """Both names of one thing, with different values."""
    aliases = [alias for alias, canonical in ALIASES.items() if canonical == override.key]
    if not aliases:
        return []
    for other in earlier:
        spelled_alike = other.text.startswith(name + "=") or other.text.startswith(name + " ")
        if other.key == override.key and other.value != override.value and not spelled_alike:
            return [f"-o {override.text}: contradicts -o {other.text}; both name {override.key}: keep one"]
    return []


def lookup(tree: Any, key: str, default: Any) -> Any:
    """Return the value at the dotted `key`; list items by index or by transform name."""
    for part in key.split("."):
        found = _step(tree, part)
        if isinstance(found, str):
            return default
        container, name = found
        if isinstance(container, dict) and name not in container:
            return default
        tree = container[name]
    return tree


def apply_override(tree: dict[str, Any], override: Override) -> list[str]:
    """Change `tree` in place; returns what is wrong. Unknown keys are set: the schema judges them later."""
    parts = override.key.split(".")
    if not all(parts):
        return [f"-o {override.text}: the key has an empty part, expected Section.key=value"]
    place: Any = tree
    for depth, part in enumerate(parts):
        found = _step(place, part)
        if isinstance(found, str):
            return [f"-o {override.text}: {'.'.join(parts[:depth])} {found}"]
        container, name = found
        if depth == len(parts) - 1:
            container[name] = override.value
            return _shadowed(container, parts, override)
        if isinstance(container, dict) and container.get(name) is None:
            container[name] = {}
        place = container[name]
    return []


def _step(container: Any, part: str) -> tuple[Any, Any] | str:
    """Where `part` leads inside `container`: (holder, key or index), or why nowhere."""
    if isinstance(container, dict):
        return container, part
    if not isinstance(container, list):
        return f"is {container!r}, which has no keys"
    if part.isdigit():
        if int(part) < len(container):
            return container, int(part)
        return f"has {len(container)} items, counted from 0: there is no item {part}"
    named = [item for item in container if isinstance(item, dict) and part in item]
    if len(named) == 1:
        return named[0], part
    if named:
        places = [str(i) for i, item in enumerate(container) if isinstance(item, dict) and part in item]
        return f"holds {part} {len(named)} times: name one by its index, one of {', '.join(places)}"
    names = [str(key) for item in container if isinstance(item, dict) for key in item]
    nearest = difflib.get_close_matches(part, names, n=1, cutoff=0.0)
    return f"has no item {part}; nearest: {nearest[0]}" if nearest else f"has no item {part}"


def _shadowed(options: Any, parts: Sequence[str], override: Override) -> list[str]:
    """A resize option that PaddleOCR would ignore without a word, because another is set."""
    if len(parts) < 2 or parts[-2] != _RESIZE or not isinstance(options, dict):
        return []
    name = "limit_side_len" if parts[-1] == "limit_type" else parts[-1]
    if name not in _RESIZE_MODES:
        return []
    stronger = [mode for mode in _RESIZE_MODES[: _RESIZE_MODES.index(name)] if mode in options]
    if not stronger:
        return []
    whole = ".".join(parts[:-1])
    return [
        f"-o {override.text}: without effect, because {_RESIZE} has {stronger[0]}={options[stronger[0]]} "
        f"and PaddleOCR obeys that one; replace it whole: -o '{whole}={{{parts[-1]}: {override.value}}}'"
    ]
