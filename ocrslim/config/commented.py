"""A configuration to read: as YAML, with where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ocrslim.config.config import Config
from ocrslim.config.origins import is_block


def listing(config: Config) -> str:
    """Return the resolved configuration as YAML, behind each value a comment with where it comes from."""
    lines = _lines(config.tree, "")
    return "\n".join(f"{text}  # {config.origins[key]}" if key in config.origins else text for text, key in lines)


def _lines(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield lines of YAML, each with the dotted key of the value on it."""
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield f"{_flow(name)}:", ""
            yield from _indented(_lines(value, f"{key}."))
        elif is_block(value):
            yield f"{_flow(name)}:", ""
            for index, item in enumerate(value):
                lines = _lines(item, f"{key}.{index}.")
                yield from _indented(lines, "- ")
        else:
            yield f"{_flow(name)}: {_flow(value)}", key


def _indented(lines: Iterator[tuple[str, str]], first: str = "  ") -> Iterator[tuple[str, str]]:
    for text, key in lines:
        yield first + text, key
        first = "  "


def _flow(value: Any) -> str:
    """Return a value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")
