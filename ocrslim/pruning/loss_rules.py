"""PaddleSlim's rules for losses: loss from a score, loss at a ratio, ratio at a loss."""

from __future__ import annotations

from collections.abc import Mapping


def loss_of(baseline: float, score: float) -> float:
    """Relative loss as PaddleSlim 2.6 defines it (`FilterPruner._cal_sensitive`)."""
    return (baseline - score) / (baseline + 1e-3)


def ratio_by_loss(losses: Mapping[float, float], tolerance: float) -> float:
    """The largest ratio whose loss is within `tolerance`, interpolated towards the next measured one.

    PaddleSlim's rule (`paddleslim.prune.get_ratios_by_loss`); 0 where no measured ratio is within.
    """
    from paddleslim.prune import get_ratios_by_loss

    return float(get_ratios_by_loss({"layer": dict(losses)}, tolerance).get("layer", 0.0))


def loss_at(losses: Mapping[float, float], ratio: float) -> float:
    """Loss at `ratio`, interpolated linearly between (0, 0) and the measured ratios; constant beyond the last."""
    points = [(0.0, 0.0), *sorted(losses.items())]
    for (r0, l0), (r1, l1) in zip(points, points[1:]):
        if ratio <= r1:
            return l0 + (l1 - l0) * (ratio - r0) / (r1 - r0)
    return points[-1][1]
