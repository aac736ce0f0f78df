"""The cheapest way to compute a sum of linear maps, by a model of what each step costs.

The unit is the time of one multiply-accumulate in a convolution, on a map of area 1. Measured with oneDNN on AVX2,
one thread, 96 and 24 channels at 184 x 320: 37 GMAC/s; a sum of two maps 36 to 50 of them for each entry.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from math import inf

from ocrslim.inference.compiler.ir import Id
from ocrslim.inference.compiler.linear_maps import Sum, Term

_BLOCK = 8  # channels that oneDNN computes together
_MAX_WINDOWS = 6  # convolutions in one sum; there are 2^5 ways to group so many


@dataclass(frozen=True)
class EvaluationOrder:
    """The order in which a sum is computed, and its cost.

    Attributes:
        cost: in multiply-accumulates for one pixel of area 1.
        groups: maps that one convolution of their concatenation computes, transposed where all are upsampled.
        small: 1x1 convolutions that run before the upsampling.
        plain: maps without weights.
    """

    cost: float
    groups: tuple[tuple[Term, ...], ...] = ()
    small: tuple[Term, ...] = ()
    plain: tuple[Term, ...] = ()


@dataclass(frozen=True)
class CostModel:
    """What the steps of a runtime cost.

    Attributes:
        move: multiply-accumulates in the time that one float takes to be read or written.
        transposed: time of a product in a transposed convolution over that in a convolution; infinite where none is to
            be made of an upsampling.
    """

    move: float = 12.0
    transposed: float = 1.1

    def best_order(
        self, total: Sum, channels: int, area: float, activated: bool, shared: Container[Id]
    ) -> EvaluationOrder:
        """The cheapest way to a sum of `channels` channels on `area` pixels; nothing may write over `shared` values."""
        plain = tuple(term for term in total.terms if not term.weights)
        small = tuple(term for term in total.terms if term.weights and term.kernel == 1 and term.factor > 1)
        windows = [term for term in total.terms if term.weights and (term.kernel > 1 or term.factor == 1)]
        if len(windows) > _MAX_WINDOWS or any(term.channels for term in total.terms):
            return EvaluationOrder(inf)
        fixed = sum(self._upsampling(channels, term.factor, area) for term in (*plain, *small))
        fixed += sum(self._convolution((term,), channels, area / term.factor**2) for term in small)
        others = len(plain) + len(small)
        kept = others == 1 and any(term.factor == 1 and term.source in shared for term in plain)
        best = EvaluationOrder(inf)
        for grouped, groups in self._groupings(
            sorted(windows, key=lambda term: (term.kernel, term.factor)), channels, area
        ):
            last = sum(group[0].factor == 1 for group in groups)
            sums = others + len(groups) - 1
            residual = min(sums, last) - (kept and 0 < last == len(groups))
            moves = 3 * sums - residual + 2 * (activated and not last)  # a residual is read, but not written
            cost = fixed + grouped + self.move * area * channels * moves
            if cost < best.cost:
                best = EvaluationOrder(cost, groups, small, plain)
        return best

    def joining(self, channels: int, area: float) -> float:
        """Return the cost of a concatenation to `channels` channels."""
        return 2 * self.move * area * channels

    def _groupings(self, terms: Sequence[Term], channels: int, area: float) -> list[_Grouping]:
        """Return all ways to cut `terms`, sorted by kernel, into runs of equal kernel, with the cost of each."""
        found: dict[int, list[_Grouping]] = {len(terms): [(0.0, ())]}  # of the terms from there on
        for first in reversed(range(len(terms))):
            found[first] = []
            for end in range(first + 1, len(terms) + 1):
                group = tuple(terms[first:end])
                if group[-1].kernel != group[0].kernel:
                    break
                cost = self._group(group, channels, area)
                found[first] += [(cost + other, (group, *rest)) for other, rest in found[end]]
        return found[0]

    def _group(self, group: Sequence[Term], channels: int, area: float) -> float:
        """Return the cost of one convolution of the maps of `group`, upsampled to the largest and joined."""
        factor = group[0].factor
        if any(term.factor % factor for term in group):
            return inf
        small = area / factor**2
        cost = sum(self._upsampling(term.width, term.factor // factor, small) for term in group)
        if len(group) > 1:
            cost += self.joining(_inputs(group), small)
        if factor == 1:
            return cost + self._convolution(group, channels, area)
        window = (factor + group[0].kernel - 1) ** 2 * self.transposed
        moves = self.move * (small * _inputs(group) + area * channels)
        return cost + small * window * _products(group, channels) + moves

    def _convolution(self, group: Sequence[Term], channels: int, area: float) -> float:
        moves = self.move * (_inputs(group) + channels)
        return area * (group[0].kernel ** 2 * _products(group, channels) + moves)

    def _upsampling(self, channels: int, factor: int, area: float) -> float:
        return self.move * area * channels * (1 + factor**-2) if factor > 1 else 0.0


_Grouping = tuple[float, tuple[tuple[Term, ...], ...]]


def _inputs(group: Sequence[Term]) -> int:
    return sum(term.width for term in group)


def _products(group: Sequence[Term], channels: int) -> int:
    return blocks(_inputs(group)) * blocks(channels)


def blocks(channels: int) -> int:
    """Return the channels that are computed for `channels` of them: whole blocks."""
    return -(-channels // _BLOCK) * _BLOCK
