"""One time budget for two networks: how much of it each is given, by what was measured on pages.

Of each network a few plans are known: how many of its multiply-accumulates are removed, the seconds a page that its
step takes then, and the agreement that it alone costs. Between them both curves are interpolated; the pair is taken
that costs least where the two steps together stay within the budget. Losses add up here, which is near enough to choose
by: what is chosen is measured as a pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

STEP = 0.01  # of the fraction removed


@dataclass(frozen=True)
class Point:
    """What was measured of one plan of one network, beside the other network as it came.

    Attributes:
        removed: fraction of its multiply-accumulates that the plan removes; 0 for the rewritten network alone.
        seconds: that its step takes of a page.
        loss: of agreement (0..1).
    """

    removed: float
    seconds: float
    loss: float


class Curve:
    """The points of one network, interpolated: more removed is never slower, and never loses less."""

    def __init__(self, points: Sequence[Point]):
        """`points`: at least one, whose fractions differ."""
        known = sorted(points, key=lambda point: point.removed)
        self._removed = np.array([point.removed for point in known])
        self._seconds = np.minimum.accumulate([point.seconds for point in known])
        self._loss = np.maximum.accumulate([max(0.0, point.loss) for point in known])

    @property
    def most(self) -> float:
        """The largest fraction that was measured."""
        return float(self._removed[-1])

    def seconds(self, removed: np.ndarray) -> np.ndarray:
        """Return the seconds of the step for fractions removed."""
        return np.interp(removed, self._removed, self._seconds)

    def loss(self, removed: np.ndarray) -> np.ndarray:
        """Return the loss of agreement for fractions removed."""
        return np.interp(removed, self._removed, self._loss)

    def reaching(self, seconds: float) -> float | None:
        """Return the least fraction with which the step takes at most so many seconds; None where none does."""
        found = [float(one) for one in self.fractions if self.seconds(one) <= seconds]
        return min(found, default=None)

    @property
    def fractions(self) -> np.ndarray:
        """The fractions to choose among: every hundredth that was measured between, and those that were measured."""
        between = np.arange(self._removed[0], self.most, STEP)
        return np.unique(np.concatenate([between.round(4), self._removed]))


@dataclass(frozen=True)
class Division:
    """How a budget is divided.

    Attributes:
        detection, recognition: fractions of the multiply-accumulates removed of the two networks.
        seconds: a page, expected.
        loss: of agreement, expected.
    """

    detection: float
    recognition: float
    seconds: float
    loss: float


def divide(detection: Curve, recognition: Curve, budget: float) -> Division | None:
    """Return the division of the least loss within a budget, the fastest of equals; None where none is within it.

    Args:
        budget: seconds a page.
    """
    within = [one for one in _divisions(detection, recognition) if one.seconds <= budget]
    return min(within, key=lambda one: (round(one.loss, 6), one.seconds), default=None)


def fastest(detection: Curve, recognition: Curve, tolerance: float) -> Division | None:
    """Return the fastest division that loses at most `tolerance` of agreement; None where none does."""
    bearable = [one for one in _divisions(detection, recognition) if one.loss <= tolerance]
    return min(bearable, key=lambda one: (one.seconds, one.loss), default=None)


def least(detection: Curve, recognition: Curve) -> float:
    """Return the seconds a page of the fastest pair that was measured."""
    return min(one.seconds for one in _divisions(detection, recognition))


def _divisions(detection: Curve, recognition: Curve) -> Iterator[Division]:
    """Yield every pair of fractions with what it is expected to take and to cost."""
    ones, others = detection.fractions, recognition.fractions
    seconds = detection.seconds(ones)[:, None] + recognition.seconds(others)[None]
    loss = detection.loss(ones)[:, None] + recognition.loss(others)[None]
    for one, other in itertools.product(range(len(ones)), range(len(others))):
        yield Division(float(ones[one]), float(others[other]), float(seconds[one, other]), float(loss[one, other]))
