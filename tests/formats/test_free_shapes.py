"""Numbers of channels taken out of shapes: the shape made stays the same."""

from __future__ import annotations

import math

import pytest

from ocrslim.formats import free_channels

CASES = {  # what -> shape before, shape wanted, shape made; None is computed
    "a vector over a map": ([12], [1, 12, 1, 1], [1, -1, 1, 1]),
    "a vector of one": ([1], [1, 1, 1, 1], [1, 1, 1, 1]),
    "channels that stay": ([-1, 12, -1, -1], [0, 12, -1], [0, 0, -1]),
    "a map of one place": ([-1, 200, 1, 1], [None, 200], [0, 0]),
    "a batch that is computed": ([-1, 200, 1, 1], [-1, 200], [0, 0]),
    "heads": ([-1, -1, 360], [0, None, 3, 8, 15], [0, 0, 3, 8, -1]),
    "heads together": ([-1, -1, 8, 15], [0, None, 120], [0, 0, -1]),
    "a size that is not the input's": ([-1, -1, 12], [0, None, 8], [0, None, -1]),
    "halves of the channels": ([-1, 24, -1, -1], [0, 2, 12, None, None], [0, 2, -1, None, None]),
}


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_taken_out(case):
    before, wanted, made = CASES[case]
    assert free_channels(before, wanted) == made


@pytest.mark.parametrize("case", [name for name, (_, _, made) in CASES.items() if None not in made])
def test_the_uncut_network_makes_the_same(case):
    before, wanted, made = CASES[case]
    known = [2 if axis == 0 and size < 0 else 5 if size < 0 else size for axis, size in enumerate(before)]
    assert _made(known, made) == _made(known, [-1 if size is None else size for size in wanted])


def _made(before, shape):
    """What a reshape makes of `before`, as Paddle documents it."""
    sizes = [before[axis] if size == 0 else size for axis, size in enumerate(shape)]
    rest = math.prod(before) // math.prod(size for size in sizes if size > 0)
    return [rest if size < 0 else size for size in sizes]
