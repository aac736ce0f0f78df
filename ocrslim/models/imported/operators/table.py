"""The table of functions, and how they are called.

Each function takes the operator and its arguments, tensors and lists of tensors, and returns its first outputs: one, or
several as a list. An output that is a list is alone in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocrslim.graph import Op

Arguments = Mapping[str, Any]
Function = Callable[[Op, Arguments], Any]

FUNCTIONS: dict[str, Function] = {}


def operator(*names: str) -> Callable[[Function], Function]:
    """Register a function for the operators `names`."""

    def register(function: Function) -> Function:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


def first(arguments: Arguments) -> Any:
    """Return the first argument that was given."""
    return next(value for value in arguments.values() if value is not None)
