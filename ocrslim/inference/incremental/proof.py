"""What the runtime computes, held against the network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.inference.outputs import Output, parts_of, shapes_of

# Of the largest number of an output, and of 1 where that is less, as in a map of 0..1. Rounding alone stays below
# ROUNDING where a network passes it on as it comes, and below LIMIT where it enlarges it (deformable convolutions).
ROUNDING, LIMIT = 1e-4, 1e-3
_ENLARGED = 10.0  # rounding happens at every layer, a nudge at the input alone


@dataclass(frozen=True)
class Proof:
    """An input, and what the network itself makes of it.

    Attributes:
        image: float32 [1, C, H, W].
        expected: the network's output.
        moved: how far each array of it goes when the last bit of the image's numbers is another.
    """

    image: np.ndarray
    expected: Output
    moved: tuple[float, ...] = ()

    def check(self, found: Output) -> None:
        """Compare an output of the runtime for the image with that of the network.

        Raises:
            LoweringError: they differ by more than rounding.
        """
        require_equal(found, self.expected, self.moved)


def proof_of(network: Callable[[np.ndarray], Output], image: np.ndarray) -> Proof:
    """Run `network` on `image`, and on the same with other last bits."""
    expected = network(image)
    up = np.random.default_rng(0).random(image.shape, np.float32) < 0.5
    nudged = network(np.where(up, np.nextafter(image, np.float32(np.inf)), image))
    moved = [_distance(one, other) for one, other in zip(parts_of(nudged), parts_of(expected))]
    return Proof(image, expected, tuple(moved))


def require_equal(found: Output, expected: Output, moved: tuple[float, ...] = ()) -> None:
    """Compare two outputs of one network, array by array; `moved` as in `Proof`.

    Raises:
        LoweringError: they differ by more than rounding.
    """
    if shapes_of(found) != shapes_of(expected):
        raise LoweringError(f"the runtime gives shapes {shapes_of(found)}, the network {shapes_of(expected)}")
    arrays = parts_of(expected)
    for one, other, nudge in zip(parts_of(found), arrays, moved or (0.0,) * len(arrays)):
        largest = max(1.0, float(np.abs(other).max(initial=0.0)))
        allowed = min(max(ROUNDING * largest, _ENLARGED * nudge), LIMIT * largest)
        off = _distance(one, other)
        if not off <= allowed:
            raise LoweringError(f"the runtime's output is off by {off:.1e}, more than {allowed:.1e}")


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max(initial=0.0))
