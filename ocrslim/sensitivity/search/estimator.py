"""The loss of a pruned network, estimated from the first images of a set whose baseline is known image by image.

The images are a finite population drawn without replacement in a random order. What the remaining images add
is estimated from the paired differences to the baseline's counts, so that a network that hardly differs from
the baseline is known closely after a few images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from ocrslim.pruning import loss_of
from ocrslim.tasks import Counts, Ratio

_SURPRISE = 0.05  # share of an average image's boxes that one more image may change unseen
_RIDGE = 2.0  # changed boxes: keeps the slope on the helper small where little has changed


class Estimate(NamedTuple):
    """The loss on all images, estimated from the images so far.

    Attributes:
        loss: estimate; exact once all images are measured.
        low, high: interval that holds the loss on all images, but for the error level.
        noise: standard deviation that a fresh set of as many images would give the loss.
    """

    loss: float
    low: float
    high: float
    noise: float


def sample_sizes(images: int) -> list[int]:
    """Numbers of images after which a sampled point is judged: steps that grow by about a third, then all."""
    sizes = []
    step = size = 4
    while size < 0.85 * images:  # a remainder this small is not worth a request of its own
        sizes.append(size)
        step = max(4, 1 << int(math.log2(size / 2)))
        size += step
    return [*sizes, images]


class LossEstimator:
    """Estimates losses of one detector's pruned versions from its own counts image by image."""

    def __init__(self, baseline: Sequence[Counts], metric: Ratio, error: float = 0.2):
        """Prepare.

        Args:
            baseline: the unpruned network's counts, in measuring order.
            metric: how the score follows from counts.
            error: probability that the loss lies beyond one end of its interval at any sample size.

        Raises:
            ValueError: no images, a baseline of zero, an error level outside 0..1.
        """
        if not 0 < error < 1:
            raise ValueError(f"error: {error!r} is not between 0 and 1")
        self._metric, self._error = metric, error
        self._base = self._columns(baseline)
        self.images = len(self._base)
        self.sample_sizes = sample_sizes(self.images)
        self._baseline = self._value(*self._base.sum(axis=0))
        if not self._baseline > 0:
            raise ValueError(f"the score of the unpruned network is 0 on {self.images} images: nothing to lose")
        self._sizes = self._metric.pred * self._base[:, 1] + self._metric.gt * self._base[:, 0]

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest loss there can be: a metric of 1 and one of 0."""
        return loss_of(self._baseline, 1.0), loss_of(self._baseline, 0.0)

    def estimate(self, counts: Sequence[Counts], helper: Sequence[Counts] | None = None) -> Estimate:
        """Estimate from the counts of the first images.

        The remaining images' boxes and matches are the baseline's, changed by as much per box as in the images
        so far (Cochran, Sampling Techniques, 3rd ed.: ratio estimator, chapter 6, of differences to a covariate, 7.2);
        the variance is that of its residuals with the finite population correction (ibid., chapter 6). The counts
        of a similar network on all images say which images are the difficult ones (regression estimator, 7.3).

        Args:
            counts: of the images from the first on.
            helper: another pruned network's counts of all images, such as at a neighbouring ratio.
        """
        part = self._columns(counts)
        n = len(part)
        if n == self.images:
            return self._exact(part)
        delta = part - self._base[:n]
        per_box = delta.sum(axis=0) / max(self._sizes[:n].sum(), 1.0)
        remaining = self._base[n:].sum(axis=0) + per_box * self._sizes[n:].sum()
        rest_matched = float(np.clip(remaining[2], 0, self._base[n:, 0].sum()))
        rest_pred = max(float(remaining[1]), rest_matched)
        gt, pred, matched = self._base[:, 0].sum(), part[:, 1].sum() + rest_pred, part[:, 2].sum() + rest_matched
        value = self._value(gt, pred, matched)
        boxes = max(self._boxes(gt, pred), 1.0)
        residual = self._unexplained(delta, value)
        if helper is not None:
            others = self._unexplained(self._columns(helper) - self._base, value)
            per_image, residual = self._regress(residual, others)
            value = min(max(value + self.images * per_image / boxes, 0.0), 1.0)
        return self._interval(value, self._variance(residual), n, boxes, part)

    def _columns(self, counts: Sequence[Counts]) -> np.ndarray:
        """Float64 [images, 3]: things to find, things found, and how many of them match."""
        return np.array([(one[0], one[1], one[self._metric.column]) for one in counts], dtype=np.float64).reshape(-1, 3)

    def _unexplained(self, delta: np.ndarray, value: float) -> np.ndarray:
        """The amounts that each image's differences add to `matched * M - value * boxes`, less its share by size."""
        change = self._metric.matched * delta[:, 2] - value * self._metric.pred * delta[:, 1]
        sizes = self._sizes[: len(delta)]
        return change - change.sum() / max(sizes.sum(), 1.0) * sizes

    def _regress(self, residual: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean correction per image, since the `others` of the images so far do not add up to 0; what is left."""
        n = len(residual)
        sizes = self._sizes[:n]
        share = others[:n].sum() / max(sizes.sum(), 1.0)
        seen = others[:n] - share * sizes
        slope = float(residual @ seen) / (float(seen @ seen) + _RIDGE * self._metric.matched**2)
        return -slope * share * float(self._sizes.mean()), residual - slope * seen

    def _exact(self, part: np.ndarray) -> Estimate:
        loss = loss_of(self._baseline, self._value(*part.sum(axis=0)))
        residual = self._unexplained(part - self._base, self._baseline)
        noise = math.sqrt(self.images * self._variance(residual)) / max(self._sizes.sum(), 1.0)
        return Estimate(loss, loss, loss, noise / (self._baseline + 1e-3))

    def _variance(self, residual: np.ndarray) -> float:
        """Per image, as if one more image had changed: a few images without change prove little.

        Some networks fail on single images, which a small sample seldom holds.
        """
        unseen = max(self._metric.matched, _SURPRISE * float(self._sizes.mean()))
        return (float(residual @ residual) + unseen**2) / len(residual)

    def _interval(self, value: float, variance: float, n: int, boxes: float, part: np.ndarray) -> Estimate:
        scale = boxes * (self._baseline + 1e-3)
        error = self.images * math.sqrt(variance / n * (1 - n / self.images)) / scale
        half = error * float(special.stdtrit(n, 1 - self._spent(n)))  # quantile of Student's t
        loss = loss_of(self._baseline, value)
        least = max(self.bounds[0], loss_of(self._baseline, self._best(part)))
        low, high = max(loss - half, least), min(loss + half, self.bounds[1])
        return Estimate(min(max(loss, low), high), low, high, math.sqrt(self.images * variance) / scale)

    def _best(self, part: np.ndarray) -> float:
        """The metric if every remaining label were found and nothing else: certain, not estimated."""
        rest = self._base[len(part) :, 0].sum()
        return self._value(self._base[:, 0].sum(), part[:, 1].sum() + rest, part[:, 2].sum() + rest)

    def _spent(self, n: int) -> float:
        """The share of the error level for the sample of `n` images: Pocock's spending (Lan and DeMets 1983)."""
        before = max((size for size in self.sample_sizes if size < n), default=0)
        spent = [math.log(1 + (math.e - 1) * min(at, self.images) / self.images) for at in (before, n)]
        return self._error * (spent[1] - spent[0])

    def _value(self, gt: float, pred: float, matched: float) -> float:
        boxes = self._boxes(gt, pred)
        return self._metric.matched * matched / boxes if boxes else 0.0

    def _boxes(self, gt: float, pred: float) -> float:
        return self._metric.pred * pred + self._metric.gt * gt
