"""The command `config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ocrslim.config import Config, is_block


def run_config(config: Config) -> dict[str, Any]:
    """Print the resolved configuration as YAML, behind each value a comment with where it comes from."""
    for text, key in _lines(config.tree, ""):
        print(f"{text}  # {config.origins[key]}" if key in config.origins else text)
    return {"config": config.tree, "origins": dict(config.origins)}


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
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")
