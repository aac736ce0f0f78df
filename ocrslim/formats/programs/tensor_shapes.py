"""Shapes that a file names: bounded before anything is computed or made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ocrslim.formats.faults import FormatFault
from ocrslim.utils import printable

Shape = tuple[int, ...]

MOST_AXES = 9  # of a tensor in Paddle
MOST_VALUES = 1 << 31


def known_shape(name: object, dims: Iterable[Any]) -> Shape:
    """Return the shape `dims` of a tensor whose sizes are all known.

    Raises:
        FormatFault: too many axes or values; a size that is negative or no integer.
    """
    return _shape(name, dims, least=0)


def free_shape(name: object, dims: Iterable[Any]) -> Shape:
    """Return the shape `dims` of a tensor of which some sizes, -1, are free; raises as `known_shape`."""
    return _shape(name, dims, least=-1)


def _shape(name: object, dims: Iterable[Any], least: int) -> Shape:
    shape = tuple(dims)
    if len(shape) > MOST_AXES:
        raise FormatFault(f"{printable(name)} has {len(shape)} axes, expected at most {MOST_AXES}")
    for size in shape:
        if type(size) is not int or not least <= size < MOST_VALUES:
            raise FormatFault(f"{printable(name)} has the size {printable(size, 30)}, expected {least} or more")
    if math.prod(abs(size) or 1 for size in shape) > MOST_VALUES:
        raise FormatFault(f"{printable(name)} has the shape {list(shape)}, too large for any memory")
    return shape


def image_shape(name: object, dims: Iterable[Any], data_type: str | None) -> Shape:
    """Return the shape of a program's input, which is to be an image: float32 [N, 3, H, W]; raises as `known_shape`."""
    shape = free_shape(name, dims)
    if len(shape) != 4 or shape[1] not in (-1, 3) or data_type != "float32":
        raise FormatFault(
            f"its input {printable(name)} has the shape {list(shape)} and the type {data_type}, "
            "expected a float32 image [-1, 3, -1, -1]"
        )
    return shape
