"""What a network costs, from its channel counts alone: nothing is run, nothing is rebuilt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ocrslim.graph.groups import ChannelGraph
from ocrslim.pruning.plan import Cut


@dataclass(frozen=True)
class Cost:
    """MACs of one forward pass at the traced input shape, and trainable parameters, both of inference alone."""

    macs: int
    params: int


def measure_cost(graph: ChannelGraph, cuts: Iterable[Cut] = ()) -> Cost:
    """MACs and parameters of the network of `graph`, pruned by `cuts`.

    A convolution counts (output positions) x (entries of its weight), a transposed one (input positions) x
    (entries), a linear layer (rows) x (entries); biases, norms and activations count no MACs. Layers that
    inference does not run count nothing.
    """
    kept: dict[tuple[str, int], set[int]] = {(cut.key, cut.axis): set(cut.keep) for cut in cuts}
    sizes: dict[str, dict[int, int]] = defaultdict(dict)
    for (key, axis), keep in kept.items():
        sizes[key][axis] = len(keep)

    def entries(key: str, shape: tuple[int, ...]) -> int:
        return math.prod(sizes[key].get(axis, size) if key in sizes else size for axis, size in enumerate(shape))

    def stays(key: str, axis: int, index: int) -> bool:
        return (key, axis) not in kept or index in kept[key, axis]

    macs = 0
    for layer in graph.layers:
        times = sum(stays(*entry) for entry in layer.per) if layer.per else 1
        macs += layer.positions * times * entries(layer.key, layer.shape)
    return Cost(macs, sum(entries(key, shape) for key, shape in graph.trainable.items()))
