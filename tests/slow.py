"""Parameters of which only some run in the quick part of the tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """`values`, those that are not among `fast` marked as slow."""
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]
