"""Shapes that a program has as numbers, so that they follow a cut.

A network that writes `reshape([n, c, -1])` with `c` read off its input has the number of channels in its trace, or in
its export. It is taken out again where that can be told from the shapes: an axis that stays where it is becomes 0, "as
in the input", and another one -1, "what is left". The uncut network computes the same with such shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Optional

Sizes = list[Optional[int]]


def free_channels(before: Sequence[int], wanted: Sequence[int | None]) -> Sizes:
    """Return the same shape with as few numbers as can be; those of the unpruned network stay right.

    Of several numbers that are left the largest becomes -1: of a split into groups of channels (ShuffleNet's), or
    heads, the other one is a number that the code has. If that is wrong, the proof of the first variant says so.

    Args:
        before: shape of the input; -1 where that is free.
        wanted: the shape to make: sizes, 0 or -1 as a reshape takes them, None for one that is computed.
    """
    sizes: Sizes = list(wanted)
    for axis in range(min(len(before), len(sizes))):
        size = sizes[axis]
        if size == before[axis] == 1:
            continue
        stays = size is not None and 0 < size == before[axis]
        if stays or (size in (-1, None) and axis == _leading(sizes) and _same_rest(before[axis:], sizes[axis:])):
            sizes[axis] = 0
        elif size is not None and size != 0:
            break
    numbers = [axis for axis, size in enumerate(sizes) if size is not None and size > 1]
    if -1 not in sizes and numbers:
        sizes[max(numbers, key=lambda axis: sizes[axis] or 0)] = -1
    return sizes


def _leading(sizes: Sequence[int | None]) -> int:
    """Return the number of axes in front that are as in the input."""
    return next((axis for axis, size in enumerate(sizes) if size != 0), len(sizes))


def _same_rest(before: Sequence[int], after: Sequence[int | None]) -> bool:
    """Tell whether all that follows the first axis is of known sizes, and as much as it was."""
    known = [size for size in after[1:] if size is not None and size > 0]
    return min(before[1:], default=1) > 0 and len(known) == len(after) - 1 and prod(before[1:]) == prod(known)
