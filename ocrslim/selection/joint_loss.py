"""Joint loss of several pruned layers, from their losses alone.

Per-layer losses compound when layers are pruned together: hmean hardly falls while the error of the features is small,
and then steeply, and every pruned layer adds to that error. The model: the remaining score is exp(-d^2) with d the
feature error, and the feature errors of several layers add up:

    d = sqrt(-log(1 - loss)) of a layer alone,    loss = 1 - exp(-(sum of d)^2) of all together.

Many small losses (ten of 0.001: 0.095 together) thus weigh more than one of their sum (0.01), as pruned networks show
(docs/selection.md has the measurements). A measured loss near zero is mostly noise of the evaluation images and must
not count as free: losses are made to rise with the ratio (least squares, `isotonic_regression`), negative ones become
zero, and `LEAST` x ratio is added to all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression

LEAST = 0.005  # least loss assumed for the ratio 1, whatever was measured
_MOST = 1 - 1e-6  # largest loss, so that its logarithm is finite


def monotone_losses(losses: Mapping[float, float], size: int) -> dict[float, float]:
    """Fit losses by the number of removed units that are not negative and never fall, nearest to the measured ones.

    Args:
        losses: {ratio: loss}; measured with round(size * ratio) units removed.
        size: number of units of the group.

    Returns:
        {removed units: loss}; {} if no ratio removes a unit.
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
    """Compute the feature errors d of layers with the loss `losses` alone at `ratios`, float64 [layers]."""
    return np.sqrt(-np.log1p(-np.minimum(losses + LEAST * ratios, _MOST)))


def joint_loss(total: float) -> float:
    """Compute the joint loss of layers whose feature errors sum to `total`."""
    return float(-np.expm1(-(total**2)))
