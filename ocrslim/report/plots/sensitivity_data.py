"""The data of a plot of a sensitivity analysis: every layer's points and the ratios chosen from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MEASURED, SAMPLED, INFERRED = "measured", "sampled", "inferred"
KINDS = (MEASURED, SAMPLED, INFERRED)  # the best known first


class SensitivityPoint(Protocol):
    """The loss of one layer at one ratio, and how it is known."""

    @property
    def ratio(self) -> float:
        """Fraction of the channels removed, in 0..1."""

    @property
    def loss(self) -> float:
        """Fraction of the baseline lost; negative where the pruned network scores better."""

    @property
    def low(self) -> float:
        """Lower end of the loss's interval; the loss itself where that is exact."""

    @property
    def high(self) -> float:
        """Upper end of the loss's interval."""

    @property
    def how(self) -> str:
        """`measured` on all images, `sampled` on some of them, or `inferred` from other ratios."""


@dataclass(frozen=True)
class SensitivityPicture:
    """The data of a plot, by the layers' public names.

    Attributes:
        layers: the points of every layer, in any order; none yet for a layer that has not been measured.
        tolerance: the loss that the ratios are chosen for.
        metric: what the losses are of: precision, recall or hmean.
        baseline: the unpruned network's metric, 0..1.
        images: how many images the evaluation set has.
        chosen: the ratio that the rule chooses at the tolerance, where known; 0 for none.
        macs_share: share (0..1) of the network's MACs that each layer's channels make, where known.
    """

    layers: Mapping[str, Sequence[SensitivityPoint]]
    tolerance: float
    metric: str
    baseline: float
    images: int
    chosen: Mapping[str, float] | None = None
    macs_share: Mapping[str, float] | None = None

    def ratios(self) -> list[float]:
        """Return every ratio that any layer has a point at, ascending."""
        return sorted({point.ratio for point in self.every_point()})

    def points(self, name: str) -> list[SensitivityPoint]:
        """The points of one layer, by ratio; one whose loss is not a finite number says nothing and is left out."""
        return sorted((p for p in self.layers[name] if math.isfinite(p.loss)), key=lambda point: point.ratio)

    def every_point(self) -> list[SensitivityPoint]:
        """Return the points of all layers."""
        return [point for name in self.layers for point in self.points(name)]

    def kinds(self) -> Counter[str]:
        """Count the points by how they were obtained."""
        return Counter(point.how for point in self.every_point())

    def order(self) -> list[str]:
        """Return the layers, those that can lose most first.

        By the ratio chosen, then by the mean of the loss over all ratios (linear between the points, from no
        loss at ratio 0); layers without a choice come after those with one, layers without a point last.
        """
        chosen, grid = self.chosen or {}, np.linspace(0, max(self.ratios(), default=1), 100)

        def rank(name: str) -> tuple[bool, bool, float, float]:
            points = self.points(name)
            losses = np.interp(grid, [0, *(p.ratio for p in points)], [0, *(p.loss for p in points)])
            return not points, name not in chosen, -chosen.get(name, 0), float(losses.mean())

        return sorted(self.layers, key=rank)
