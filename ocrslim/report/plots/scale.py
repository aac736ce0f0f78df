"""Losses as heights, colours and text, the same in every drawing of one picture."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ocrslim.report.plots.sensitivity_data import SensitivityPicture

WITHIN = LinearSegmentedColormap.from_list("within", ["#e8f2fa", "#a6cdea"])
OVER = LinearSegmentedColormap.from_list("over", ["#e8923a", "#a9490a", "#3d1400"])


class Scale:
    """Losses on an axis and as colours: linear up to the knee, logarithmic from there to the ceiling.

    The knee is the tolerance, or `FINEST` where that is less; the colours always break at the tolerance.

    Attributes:
        tolerance, knee: losses, as fractions of the baseline.
        ceiling, bottom: the greatest and the least loss that the scale has room for.
    """

    FINEST = 0.005

    def __init__(self, picture: SensitivityPicture):
        losses = [point.loss for point in picture.every_point()]
        self.tolerance, self.knee = picture.tolerance, max(self.FINEST, picture.tolerance)
        self.ceiling, self.bottom = max(1.0, 2 * self.knee, *losses), min(0.0, -self.knee, *losses)

    def colour(self, loss: float) -> tuple[float, ...]:
        """RGBA of a loss; the break is exact: the tolerance itself is still within."""
        if loss <= self.tolerance:
            return WITHIN(max(0.0, loss) / self.knee)
        return OVER(self.share(loss))

    def share(self, loss: float) -> float:
        """Position of `loss` between knee and ceiling, 0..1, on a logarithmic scale."""
        return math.log(max(1.0, loss / self.knee)) / math.log(self.ceiling / self.knee)

    def ticks(self) -> list[float]:
        """Few losses that stand well apart on the axis, the tolerance among them."""
        far = [loss for loss in (0.1, 0.3, 1.0) if loss >= 2.4 * self.knee and (loss != 0.3 or self.knee > 0.04)]
        below = [-0.1] if self.bottom <= -0.1 and self.knee <= 0.05 else []
        return [*below, 0.0, *([self.tolerance] if self.tolerance == self.knee else []), *far]

    def _height(self, loss: np.ndarray) -> np.ndarray:
        part = np.asarray(loss, float) / self.knee
        above, below = 1 + 0.6 * np.log(np.maximum(part, 1)), -0.35 * np.log1p(np.maximum(-part, 0))
        return np.where(part > 1, above, np.where(part < 0, below, part))

    def _loss(self, height: np.ndarray) -> np.ndarray:
        height = np.asarray(height, float)
        above, below = np.exp((np.maximum(height, 1) - 1) / 0.6), -np.expm1(np.maximum(-height, 0) / 0.35)
        return self.knee * np.where(height > 1, above, np.where(height < 0, below, height))

    def apply(self, axes: Axes) -> None:
        """Make it the vertical axis of `axes`, with the losses within the tolerance shaded."""
        axes.set_yscale("function", functions=(self._height, self._loss))
        axes.set_ylim(self.bottom * 1.25, self.ceiling * 1.3)
        axes.set_yticks(self.ticks(), [percent(loss) for loss in self.ticks()])
        axes.grid(axis="y", color="#e4e4e4", lw=0.6)
        axes.set_axisbelow(True)
        axes.axhspan(self.bottom * 1.25, self.tolerance, color=WITHIN(0.2), lw=0, zorder=0)
        axes.axhline(self.tolerance, color=OVER(0.35), lw=1.1, zorder=1.5, gid="tolerance")


def number(loss: float, tolerance: float) -> str:
    """Format a loss in per cent for a tile, with enough digits to distinguish it from the tolerance."""
    value, limit = 100 * loss, 100 * tolerance
    digits = 0 if abs(value) >= 9.95 else 1
    while loss != tolerance and digits < 3 and round(value, digits) == round(limit, digits):
        digits += 1
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")  # + 0.0: no minus zero


def percent(loss: float) -> str:
    """Format a loss in per cent for an axis."""
    return f"{100 * loss:g} %".replace("-", "\N{MINUS SIGN}")
