"""From what each layer loses alone to what they lose together.

The table has the loss of each layer alone. Added up, those losses say little: hmean hardly falls while the features
are a little off, then steeply, and every pruned layer takes its part of what they may be off by. So take the score
that stays as exp(-d^2), d being how far the features are off, and let the d of several layers add up:

    d = sqrt(-log(1 - loss)) of a layer alone,    loss = 1 - exp(-(sum of d)^2) of all together.

This puts many small losses (ten of 0.001: 0.095 together) above one of their sum (0.01), which is what pruned
networks show (docs/selection.md has the measurements). A measured loss near zero is mostly noise of the images scored
on, and would count as free: losses are made to rise with the ratio (least squares, `isotonic_regression`), those below
zero are zero, and `LEAST` x ratio is added to all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression

LEAST = 0.005  # loss that a layer without any channel is taken to cause, whatever was measured
_MOST = 1 - 1e-6  # of a loss: nothing is left, and still finite


def monotone_losses(losses: Mapping[float, float], size: int) -> dict[float, float]:
    """Loss by units removed, not below zero and never falling, nearest to the measured `losses` of ratios.

    Args:
        losses: {ratio: loss}; measured with round(size * ratio) units removed.
        size: units of the group.
    """
    found: dict[int, list[float]] = {}
    for ratio, loss in sorted(losses.items()):
        found.setdefault(round(size * ratio), []).append(loss)
    found.pop(0, None)
    if not found:
        return {}
    means, weights = [float(np.mean(v)) for v in found.values()], [len(v) for v in found.values()]
    fitted = isotonic_regression(means, weights=weights).x
    return {float(count): max(0.0, float(loss)) for count, loss in zip(found, fitted)}


def feature_errors(losses: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """How far off the features are for layers that alone lose `losses` with the fraction `ratios` removed."""
    return np.sqrt(-np.log1p(-np.minimum(losses + LEAST * ratios, _MOST)))


def joint_loss(total: float) -> float:
    """The loss of layers whose feature_errors add up to `total`."""
    return float(-np.expm1(-(total**2)))
