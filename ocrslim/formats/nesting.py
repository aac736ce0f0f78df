"""Limits on the size of a value from a pickle; an object that it holds twice counts twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ocrslim.formats.pickles.arrays import Refused
from ocrslim.utils import GIB

MOST_DEPTH = 50
MOST_VALUES = 2_000_000
MOST_BYTES = 2 * GIB

_Size = tuple[int, int, int]  # depth, values, bytes of text and arrays


def require_bounded(value: Any) -> None:
    """Refuse a `value` that cannot be walked, compared or hashed in bounded time.

    A tuple that holds the one before it twice, sixty times over, fits into a few hundred bytes and has 2^60 values.

    Raises:
        Refused: nested too deep, or in itself; too many values or bytes; an array or a name without its content; text
            with half a character, which nobody could print.
    """
    known: dict[int, _Size] = {}  # of containers, by identity
    opened: set[int] = set()
    waiting = [(value, False)]
    while waiting:
        item, seen_inside = waiting.pop()
        parts = _parts(item)
        if parts is None or id(item) in known:
            continue
        if seen_inside:
            known[id(item)] = _sum(_parts_sizes(parts, known))
            continue
        if id(item) in opened:
            raise Refused("it holds a container that holds itself")
        opened.add(id(item))
        waiting.append((item, True))
        waiting += [(part, False) for part in parts]
    if _parts(value) is None:
        _leaf(value)


def _parts(item: Any) -> list[Any] | None:
    """List the items of a container; None for a value that is none."""
    if type(item) is dict:
        return [*item.keys(), *item.values()]
    return list(item) if type(item) in (list, tuple) else None


def _parts_sizes(parts: Iterable[Any], known: dict[int, _Size]) -> Iterable[_Size]:
    return (known[id(part)] if id(part) in known else _leaf(part) for part in parts)


def _sum(parts: Iterable[_Size]) -> _Size:
    depth = values = size = 0
    for deeper, more, larger in parts:
        depth, values, size = max(depth, deeper), values + more, size + larger
    if depth >= MOST_DEPTH:
        raise Refused(f"it is nested more than {MOST_DEPTH} deep")
    if values >= MOST_VALUES:
        raise Refused(f"it has more than {MOST_VALUES:,} values")
    if size > MOST_BYTES:
        raise Refused(f"its arrays and texts have more than {MOST_BYTES:,} bytes")
    return depth + 1, values + 1, size


def _leaf(value: Any) -> _Size:
    if type(value) is np.ndarray:
        return 0, 1, value.nbytes
    if type(value) is str:
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused("it holds text with half a character")
        return 0, 1, len(value)
    if type(value) is bytes:
        return 0, 1, len(value)
    if value is None or type(value) in (int, float, bool):
        return 0, 1, 0
    raise Refused(f"it holds a {type(value).__name__} without its content")
