"""A layer's loss at every ratio, as far as the ratios measured so far tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ocrslim.sensitivity.search.estimator import Estimate

# How far a loss may fall back behind that of a smaller ratio: in sampling noises, and in tolerances
SLACK, DIP = 0.3, 0.25
LEAST = 0.01  # the tolerance that counts for it where there is less
KEPT_EXCESS = 0.5  # what remains, at every larger ratio, of an excess over the tolerance that is certain


class Interval(NamedTuple):
    """A loss and the ends it lies between."""

    loss: float
    low: float
    high: float


def complete(
    known: Mapping[float, Estimate], ratios: Sequence[float], tolerance: float, bounds: tuple[float, float]
) -> list[Interval]:
    """Interval of the loss at each of `ratios`.

    Losses rise with the ratio, but for noise. None is higher than one at a larger ratio by more than `SLACK` times
    the noise; none is lower than one at a smaller ratio by more than that and `DIP` tolerances, and of what exceeds
    the tolerance even then, at least `KEPT_EXCESS` remains. Nothing is said of their slopes: a tenth of the channels
    often costs as much as three tenths. What was measured at a ratio itself narrows this, and counts alone where
    the two contradict each other.

    Args:
        known: estimates by ratio, those measured so far.
        ratios: ascending.
        tolerance: loss.
        bounds: the least and the greatest loss there can be.
    """
    result = []
    for ratio in ratios:
        low = max([bounds[0], *(_floor(at, tolerance) for r, at in known.items() if r < ratio)])
        high = min([bounds[1], *(at.high + SLACK * at.noise for r, at in known.items() if r > ratio)])
        own = known.get(ratio)
        if own is not None:
            low, high = max(low, own.low), min(high, own.high)
            if low > high:
                low, high = own.low, own.high
        elif low > high:
            low = high = (low + high) / 2
        loss = own.loss if own is not None else _between(known, ratio, tolerance)
        result.append(Interval(min(max(loss, low), high), low, high))
    return result


def _floor(smaller: Estimate, tolerance: float) -> float:
    """The least loss at a ratio above that of `smaller`."""
    least = smaller.low - SLACK * smaller.noise - DIP * max(tolerance, LEAST)
    return tolerance + KEPT_EXCESS * (least - tolerance) if least > tolerance else least


def _between(known: Mapping[float, Estimate], ratio: float, tolerance: float) -> float:
    """Interpolated as if the logarithm of the loss were linear, which is how losses grow near the tolerance."""
    offset = max(tolerance / 4, 1e-3)
    points = [(0.0, 0.0), *sorted((r, at.loss) for r, at in known.items())]
    logs = [math.log(max(loss, 0.0) + offset) for _, loss in points]
    return math.exp(float(np.interp(ratio, [r for r, _ in points], logs))) - offset
