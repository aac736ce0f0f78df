"""The choice of points on a layer's loss curve, and of images for each, that tells PaddleSlim's ratio.

The rule (`ratio_by_loss`) never rises when a loss rises. So intervals of the losses give an interval of the
ratio: the rule applied to the upper ends is its lower end, the rule applied to the lower ends its upper end.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np

from ocrslim.pruning import ratio_by_loss
from ocrslim.sensitivity.search.estimator import Estimate, LossEstimator
from ocrslim.sensitivity.search.loss_bounds import Interval, complete
from ocrslim.tasks import Counts, Ratio

MEASURED, SAMPLED, INFERRED = "measured", "sampled", "inferred"
_EPSILON = 1e-9
# Found by simulation; they decide what is measured first, not what is true:
_NEVER_OVER = 0.45  # chance that no ratio exceeds the tolerance
_BOLDNESS = 0.25  # weight of ruling out ratios against finding one within the tolerance


class Request(NamedTuple):
    """Images `start` to `stop` (exclusive) of the measuring order, with `ratio` of the channels removed."""

    ratio: float
    start: int
    stop: int


class Point(NamedTuple):
    """The loss at one ratio, as far as it is known.

    Attributes:
        images: how many were measured.
        loss: on all images; an estimate unless `how` is "measured".
        low, high: interval that holds the loss but for the error level.
        how: "measured" on all images, "sampled" on some, "inferred" from other ratios.
    """

    ratio: float
    images: int
    loss: float
    low: float
    high: float
    how: str


class Decision(NamedTuple):
    """The ratio by PaddleSlim's rule.

    Attributes:
        ratio: by the rule on the table so far; 0 if nothing may go.
        low, high: between which the exact table's ratio may still lie.
        settled: whether `ratio` is close enough to both.
    """

    ratio: float
    low: float
    high: float
    settled: bool


class Search(Protocol):
    """Chooses what to measure of one layer, given what was measured."""

    def next(self) -> Request | None:
        """The next request, the same until `add` is called; None when done."""

    def add(self, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """Take counts of the images from `start` on, just measured or read from a journal.

        Raises:
            ValueError: an unknown ratio, or images that do not continue what is known of it.
        """

    def points(self) -> list[Point]:
        """The points of all ratios; from their losses the rule chooses exactly `decision().ratio`."""

    def decision(self) -> Decision:
        """The ratio, as far as it is known."""


class _Counted:
    """Counts by ratio, and what they say of the losses."""

    def __init__(self, ratios: Sequence[float], estimator: LossEstimator, tolerance: float):
        self._ratios = sorted(float(ratio) for ratio in ratios)
        if not self._ratios or len(set(self._ratios)) < len(self._ratios):
            raise ValueError(f"ratios: expected at least one and none twice, not {list(ratios)}")
        if not 0 < self._ratios[0] <= self._ratios[-1] < 1:
            raise ValueError(f"ratios: expected fractions between 0 and 1, not {list(ratios)}")
        self._estimator, self._tolerance = estimator, tolerance
        self._counts: dict[float, list[Counts]] = {ratio: [] for ratio in self._ratios}
        self._update()

    def add(self, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """See `Search.add`."""
        if ratio not in self._counts:
            raise ValueError(f"ratio: {ratio!r} is none of {self._ratios}")
        so_far, images = self._counts[ratio], self._estimator.images
        if start != len(so_far) or start + len(counts) > images:
            raise ValueError(
                f"ratio {ratio:g}: images {start}..{start + len(counts)} do not continue the {len(so_far)} "
                f"of {images} that are known"
            )
        so_far.extend(counts)
        self._update()

    def points(self) -> list[Point]:
        """See `Search.points`."""
        return [
            Point(ratio, len(self._counts[ratio]), loss, interval.low, interval.high, self._how(ratio))
            for ratio, loss, interval in zip(self._ratios, self._table, self._intervals)
        ]

    def decision(self) -> Decision:
        """See `Search.decision`."""
        return self._decision

    def _update(self) -> None:
        self._known = {ratio: self._estimate(ratio) for ratio in self._ratios if self._counts[ratio]}
        self._intervals = complete(self._known, self._ratios, self._tolerance, self._estimator.bounds)
        self._table, self._decision = self._decide()

    def _decide(self) -> tuple[list[float], Decision]:
        losses, lows, highs = (list(column) for column in zip(*self._intervals))
        low, high = self._rule(highs), self._rule(lows)
        return losses, Decision(self._rule(losses), low, high, all(map(self._complete, self._ratios)))

    def _estimate(self, ratio: float) -> Estimate:
        """With the help of the nearest ratio measured on all images: the same images lose their boxes there."""
        whole = [other for other in self._ratios if self._complete(other)]
        nearest = min(whole, key=lambda other: abs(other - ratio), default=None)
        return self._estimator.estimate(self._counts[ratio], None if nearest is None else self._counts[nearest])

    def _complete(self, ratio: float) -> bool:
        return len(self._counts[ratio]) == self._estimator.images

    def _how(self, ratio: float) -> str:
        if self._complete(ratio):
            return MEASURED
        return SAMPLED if self._counts[ratio] else INFERRED

    def _rule(self, losses: Sequence[float]) -> float:
        return ratio_by_loss(dict(zip(self._ratios, losses)), self._tolerance)


class ExactSearch(_Counted):
    """Every ratio on all images, in ascending order."""

    def __init__(self, ratios: Sequence[float], baseline: Sequence[Counts], metric: Ratio, tolerance: float):
        """Prepare.

        Args:
            ratios: fractions removed.
            baseline: the unpruned network's counts, in measuring order.
            metric: how the score follows from counts.
            tolerance: loss that `decision` accepts.

        Raises:
            ValueError: no such metric, no images, a baseline of 0; ratios outside 0..1, or the same one twice.
        """
        super().__init__(ratios, LossEstimator(baseline, metric), tolerance)

    def next(self) -> Request | None:
        """See `Search.next`."""
        return next(iter(self.requests()), None)

    def requests(self) -> list[Request]:
        """All that is left to measure, in any order and by anybody."""
        images = self._estimator.images
        return [Request(ratio, len(self._counts[ratio]), images) for ratio in self._ratios if not self._complete(ratio)]


class AdaptiveSearch(_Counted):
    """Only what is needed to know the ratio within `within`.

    Asks for the ratio and images that promise to narrow the decision's interval most for their cost.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        baseline: Sequence[Counts],
        metric: Ratio,
        tolerance: float,
        error: float = 0.2,
        within: float = 0.05,
    ):
        """Prepare.

        Args:
            ratios: fractions removed.
            baseline: the unpruned network's counts, in measuring order, which must be random.
            metric: how the score follows from counts.
            tolerance: loss for which the ratio is sought.
            error: probability that a sampled loss lies beyond one end of its interval at any sample size.
            within: how far `decision().ratio` may be from the exact one.

        Raises:
            ValueError: no such metric, no images, a baseline of 0; ratios or error outside 0..1, or a ratio twice.
        """
        self._within = within
        super().__init__(ratios, LossEstimator(baseline, metric, error), tolerance)

    def next(self) -> Request | None:
        """See `Search.next`."""
        if self._decision.settled:
            return None
        over = self._chances()
        ratio = max((r for r in self._ratios if not self._complete(r)), key=lambda r: self._worth(r, over[r]))
        start = len(self._counts[ratio])
        return Request(ratio, start, next(size for size in self._estimator.sample_sizes if size > start))

    def _decide(self) -> tuple[list[float], Decision]:
        """Decide by the estimates, moved just as far as they must be where their ratio is too far from an end."""
        losses, lows, highs = (list(column) for column in zip(*self._intervals))
        low, high = self._rule(highs), self._rule(lows)
        first = self._rule(losses)
        if high - low <= 2 * self._within + _EPSILON:
            ends = highs if first - low > self._within else lows
            for share in np.linspace(0, 1, 51).tolist():
                moved = [loss + share * (end - loss) for loss, end in zip(losses, ends)]
                ratio = self._rule(moved)
                if max(high - ratio, ratio - low) <= self._within + _EPSILON:
                    return moved, Decision(ratio, low, high, True)
        return losses, Decision(first, low, high, False)

    def _worth(self, ratio: float, over: float) -> tuple[bool, float, float]:
        """Rank a ratio to measure. First what was begun, as long as it can still narrow the decision (a new ratio tells
        less at first and costs more); then what is expected to narrow it most, once the side of the tolerance is
        known; then the least known.
        """
        at = self._ratios.index(ratio)
        _, low, high = self._intervals[at]
        if not low <= self._tolerance < high:
            return False, 0.0, 0.0
        lows, highs = ([interval[end] for interval in self._intervals] for end in (1, 2))
        lows[at:] = [max(least, min(self._tolerance + _EPSILON, most)) for least, most in zip(lows[at:], highs[at:])]
        if_over = self._decision.high - self._rule(lows)
        highs[at] = self._tolerance
        if_under = self._rule(highs) - self._decision.low
        gain = _BOLDNESS * over * if_over + (1 - over) * if_under
        return bool(self._counts[ratio]) and gain > _EPSILON, gain, high - low

    def _chances(self) -> dict[float, float]:
        """Chance that each ratio's loss is over the tolerance, to choose by: rises with the ratio."""
        low, high = self._decision.low, self._decision.high
        knots = [(low, 0.0), (high, 1.0 if high < self._ratios[-1] else 1 - _NEVER_OVER)]
        sampled = [
            (ratio, _chance_over(interval, self._tolerance))
            for ratio, interval in zip(self._ratios, self._intervals)
            if low < ratio < high and self._counts[ratio] and interval.low <= self._tolerance < interval.high
        ]
        x, y = zip(*sorted([*knots, *sampled]))
        chances = np.interp(self._ratios, x, np.maximum.accumulate(y)).clip(0.1, 0.9)
        return {**dict(zip(self._ratios, chances.tolist())), **dict(sampled)}


def _chance_over(interval: Interval, tolerance: float) -> float:
    return 1 - NormalDist(interval.loss, max((interval.high - interval.low) / 4, _EPSILON)).cdf(tolerance)
