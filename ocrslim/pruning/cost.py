"""Costs of a network from its channel counts alone; nothing is run or rebuilt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ocrslim.graph import ChannelGraph, Group
from ocrslim.pruning.plan import Cut


@dataclass(frozen=True)
class Cost:
    """MACs of one forward pass at the traced input shape, and trainable parameters; layers of inference only."""

    macs: int
    params: int


@dataclass(frozen=True)
class PrunedLayer:
    """A layer of a pruned network: shape of its weight, MACs of one forward pass."""

    shape: tuple[int, ...]
    macs: int


def measure_cost(graph: ChannelGraph, cuts: Iterable[Cut] = ()) -> Cost:
    """Count MACs and parameters of the network of `graph`, pruned by `cuts`.

    A convolution counts (output positions) x (entries of its weight), a transposed one (input positions) x
    (entries), a linear layer (rows) x (entries), a recurrent one (steps) x (entries of its matrices), a product
    of activations the products that it sums; biases, norms and activations count no MACs. What inference does not run
    is not counted, nor what depends on the data (`ChannelGraph.uncounted`).
    """
    sizes = _Sizes(cuts)
    macs = sum(layer.macs for layer in _layers(graph, sizes))
    return Cost(macs, sum(math.prod(sizes.of(key, shape)) for key, shape in graph.trainable.items()))


def pruned_layers(graph: ChannelGraph, cuts: Iterable[Cut] = ()) -> list[PrunedLayer]:
    """Describe each of `graph.layers` in the network pruned by `cuts`."""
    return _layers(graph, _Sizes(cuts))


def _layers(graph: ChannelGraph, sizes: _Sizes) -> list[PrunedLayer]:
    found = []
    for layer in graph.layers:
        times = sum(sizes.stays(*entry) for entry in layer.per) if layer.per else 1
        shape = sizes.of(layer.key, layer.shape)
        found.append(PrunedLayer(shape, layer.positions * times * math.prod(shape)))
    return found


class _Sizes:
    """What is left of each axis of each parameter."""

    def __init__(self, cuts: Iterable[Cut]):
        self._kept = {(cut.key, cut.axis): frozenset(cut.keep) for cut in cuts}

    def of(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a parameter that had `shape`."""
        return tuple(len(self._kept.get((key, axis), range(size))) for axis, size in enumerate(shape))

    def stays(self, key: str, axis: int, index: int) -> bool:
        """Tell whether an entry of an axis is left."""
        return (key, axis) not in self._kept or index in self._kept[key, axis]


MACS, PARAMS = "macs", "params"


class CostOfCounts(Protocol):
    """Cost of each row of `removed`, int [candidates, groups]: removed units, the groups in the graph's order."""

    def __call__(self, removed: np.ndarray) -> np.ndarray: ...

    def part(self, groups: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
        """Return the same for the layers that these groups change alone: what the others cost, they do not change."""
        ...


class ProductCost:
    """A sum over layers of weight x the product of the lengths of its axes.

    MACs and parameters have this form (`measure_cost`). Each length falls linearly with the removed units: exact
    where the units of a group have one size and no two groups share positions, else the mean over the choices of
    units.
    """

    def __init__(self, weights: np.ndarray, lengths: np.ndarray, slopes: np.ndarray):
        """
        Args:
            weights: [layers].
            lengths: [layers, axes], of the unpruned network; 1 for an axis that a layer does not have.
            slopes: [groups, layers, axes], decrease of a length for each removed unit of a group.
        """
        self._weights, self._lengths, self._slopes = weights, lengths, slopes

    def lengths(self, removed: np.ndarray) -> np.ndarray:
        """Remaining lengths, float [candidates, layers, axes]."""
        flat = removed.astype(np.float64) @ self._slopes.reshape(len(self._slopes), -1)
        return self._lengths - flat.reshape(len(removed), *self._lengths.shape)

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        return self.lengths(removed).prod(axis=2) @ self._weights

    def part(self, groups: Sequence[int]) -> ProductCost:
        """Return the cost of the layers that these groups change."""
        part = self.of_layers(self.changed_by(groups))
        falls = part._slopes.any(axis=(0, 1))  # axes of one length for all rows become part of the weights
        weights = part._weights * part._lengths[:, ~falls].prod(axis=1)
        return ProductCost(weights, part._lengths[:, falls], part._slopes[:, :, falls])

    def changed_by(self, groups: Sequence[int]) -> np.ndarray:
        """Return the layers that these groups change, int [layers], ascending."""
        return np.flatnonzero(self._slopes[list(groups)].any(axis=(0, 2)))

    def of_layers(self, layers: np.ndarray) -> ProductCost:
        """Return the cost of some of the layers, with their axes."""
        return ProductCost(self._weights[layers], self._lengths[layers], self._slopes[:, layers])


def product_cost(graph: ChannelGraph, kind: str) -> ProductCost:
    """Make the MACs or parameters (`kind`: `MACS`, `PARAMS`) of `graph` a function of the removed units."""
    if kind == PARAMS:
        shapes = list(graph.trainable.items())
        return _build(graph, [1.0] * len(shapes), shapes, [()] * len(shapes))
    weights = [layer.positions for layer in graph.layers]
    shapes = [(layer.key, layer.shape) for layer in graph.layers]
    return _build(graph, weights, shapes, [layer.per for layer in graph.layers])


def _build(
    graph: ChannelGraph,
    weights: Sequence[float],
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    repeats: Sequence[Sequence[tuple[str, int, int]]],
) -> ProductCost:
    """Build the cost from shapes.

    Args:
        repeats: for each layer, the entries that it runs for (`Layer.per`).
    """
    names = list(graph.groups)
    slopes = _axis_slopes(graph.groups.values())
    owners = _owners(graph.groups)
    axes = max((len(shape) for _, shape in shapes), default=0) + 1
    lengths = np.ones((len(shapes), axes))
    falls = np.zeros((len(names), len(shapes), axes))
    for row, ((key, shape), per) in enumerate(zip(shapes, repeats)):
        for axis, size in enumerate(shape):
            lengths[row, axis + 1] = size
            for group, slope in slopes.get((key, axis), {}).items():
                falls[names.index(group), row, axis + 1] += slope
        lengths[row, 0] = max(1, len(per))
        for entry in per:
            for group in owners.get(entry, ()):
                falls[names.index(group), row, 0] += 1 / graph.groups[group].size
    return ProductCost(np.asarray(weights, dtype=np.float64), lengths, falls)


def _axis_slopes(groups: Iterable[Group]) -> Mapping[_Entry, Mapping[str, float]]:
    """Positions that each axis loses for one removed unit, by group."""
    found: dict[_Entry, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for group in groups:
        for member in group.members:
            found[member.key, member.axis][group.name] += sum(map(len, member.units)) / group.size
    return found


def _owners(groups: Mapping[str, Group]) -> Mapping[tuple[str, int, int], set[str]]:
    """The groups that remove each entry of an axis."""
    found: dict[tuple[str, int, int], set[str]] = defaultdict(set)
    for name, group in groups.items():
        for member in group.members:
            for unit in member.units:
                for position in unit:
                    found[member.key, member.axis, position].add(name)
    return found


_Entry = tuple[str, int]
