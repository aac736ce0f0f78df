"""What a network returns: one array, or a tuple of them where its task has several outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle

from ocrslim.tasks import Output

__all__ = ["Output", "difference", "output_from", "parts_of", "shapes_of", "tensors_of"]


def parts_of(output: Output) -> tuple[np.ndarray, ...]:
    """Return the arrays of an output."""
    return output if isinstance(output, tuple) else (output,)


def output_from(arrays: Sequence[np.ndarray]) -> Output:
    """Return an output of its arrays; the inverse of `parts_of`."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def tensors_of(result: Any) -> list[Any]:
    """Return the tensors in what a network returns, in the order in which a trace has them."""
    return [one for one in paddle.utils.flatten(result) if isinstance(one, paddle.Tensor)]


def difference(found: Output, expected: Output) -> float:
    """Return the largest difference; infinite where the shapes differ, NaN where a number is none.

    It is absolute where an array's values stay within -1..1, as probabilities do, and else relative to the largest of
    that array, since rounding grows with it: distances in pixels, which EAST returns, reach 165.
    """
    if shapes_of(found) != shapes_of(expected):
        return float("inf")
    pairs = zip(parts_of(found), parts_of(expected))
    return float(np.max([np.abs(one - other).max() / max(1.0, float(np.abs(other).max())) for one, other in pairs]))


def shapes_of(output: Output) -> list[list[int]]:
    """Return the shape of each array."""
    return [list(one.shape) for one in parts_of(output)]
