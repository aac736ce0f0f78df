"""How far a difference in hmean can be trusted: the paired bootstrap over images.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8 and 13 (the percentile interval); paired as
in Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (EMNLP 2004): both networks are scored on
the same resampled images, so that images hard for both weigh on neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

RESAMPLES, SEED = 10_000, 0
_CONFIDENCE = 0.95

Counts = Sequence[
    Sequence[int]
]  # of each image, as `ocrslim.tasks.detection.metric.ImageCounts`: boxes to find, found, matched


@dataclass(frozen=True)
class Difference:
    """A difference in hmean (-1..1).

    Attributes:
        observed: on the images as they are.
        mean: of the resamples.
        low, high: the 95 % interval.
    """

    observed: float
    mean: float
    low: float
    high: float


def hmean(counts: Counts) -> float:
    """Hmean (0..1) over images; 0 where nothing is matched."""
    return float(_hmeans(_array(counts), np.arange(len(counts))))


def paired_difference(
    ones: Sequence[Counts], others: Sequence[Counts], resamples: int = RESAMPLES, seed: int = SEED
) -> Difference:
    """Mean hmean of the networks `ones` less that of `others`, such as three seeds each, on the same images.

    Images are drawn anew, all networks alike. The seeds of training are not: the interval says what other images of
    the kind would give for these very networks.

    Raises:
        ValueError: no network on one side, or counts that are not of the same images.
    """
    sides = [[_array(counts) for counts in side] for side in (ones, others)]
    _check_same_images(sides)

    def difference(images: np.ndarray, axis: int = -1) -> np.ndarray:
        return _mean_hmeans(sides[0], images, axis) - _mean_hmeans(sides[1], images, axis)

    images, rng = np.arange(len(sides[0][0])), np.random.default_rng(seed)
    # `random_state`: the newer name `rng` is unknown to scipy 1.13, the last one for Python 3.9
    drawn = bootstrap(
        (images,),
        difference,
        n_resamples=resamples,
        confidence_level=_CONFIDENCE,
        method="percentile",
        random_state=rng,
    )
    low, high = drawn.confidence_interval
    return Difference(float(difference(images)), float(drawn.bootstrap_distribution.mean()), float(low), float(high))


def _array(counts: Counts) -> np.ndarray:
    return np.asarray(counts, dtype=np.int64).reshape(-1, 3)


def _check_same_images(sides: Sequence[Sequence[np.ndarray]]) -> None:
    """The boxes to find are those of the labels, whatever network looked for them."""
    networks = [counts for side in sides for counts in side]
    if not all(sides) or not len(networks[0]):
        raise ValueError("paired difference: a side has no network, or no image; expected one of each at least")
    first = networks[0][:, 0]
    for counts in networks[1:]:
        if len(counts) != len(first) or (counts[:, 0] != first).any():
            raise ValueError(
                f"paired difference: counts of {len(first)} and of {len(counts)} images with other numbers of boxes to "
                "find; expected the same images in the same order: score all networks on one label file"
            )


def _mean_hmeans(networks: Sequence[np.ndarray], images: np.ndarray, axis: int) -> np.ndarray:
    return np.mean([_hmeans(counts, images, axis) for counts in networks], axis=0)


def _hmeans(counts: np.ndarray, images: np.ndarray, axis: int = -1) -> np.ndarray:
    """Hmean over the images whose indices lie along `axis` of `images`.

    2 p r / (p + r) with p = matched / found and r = matched / to find is 2 matched / (to find + found).
    """
    to_find, found, matched = (counts[images, column].sum(axis=axis) for column in range(3))
    return 2 * matched / np.maximum(to_find + found, 1)
