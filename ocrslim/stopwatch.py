"""How long pruned variants of a network take on Paddle Inference with oneDNN, held against the unpruned one.

What is timed is the network as it is exported: without the algebra by which the runtime saves work, which would make it
nearly twice as fast, and other layers than those of the export the ones that matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from paddle import nn

from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.trace import traced
from ocrslim.pruning.plan import Cut, combine
from ocrslim.pruning.surgery import cut, named_tensors
from ocrslim.runtime.predictor import Predictor
from ocrslim.runtime.variants import RuntimeNetwork, Variant

THREADS = 1
TURNS = 5  # enough where many networks are timed and what they have in common is wanted
_FREE_SIZE = (1, 3, -1, -1)


class Stopwatch:
    """Times variants in turns with the unpruned network, so that whatever else the machine does meets both."""

    def __init__(self, model: nn.Layer, graph: ChannelGraph, shape: Sequence[int]):
        """
        Args:
            model: unpruned; put back after every measurement.
            shape: [N, C, H, W] of the input.

        Raises:
            LoweringError: the runtime cannot run it.
        """
        self._model, self._graph = model, graph
        arrays = {key: tensor.numpy() for key, tensor in named_tensors(model)}
        self._network = RuntimeNetwork(traced(model, [_FREE_SIZE], training=False), arrays)
        self._image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self._convolutions = {f"{name}.weight": one for name, one in model.named_sublayers() if hasattr(one, "_groups")}
        self._full = self._load(Variant())

    def of_removed(self, removed: Mapping[str, int]) -> tuple[float, float]:
        """Milliseconds of the unpruned network, and as part of it those of one with so many units of groups removed."""
        members = [(m, count) for name, count in removed.items() for m in self._graph.groups[name].members]
        return self.of_cuts(combine(Cut(m.key, m.axis, m.size, m.keep(range(count))) for m, count in members))

    def of_cuts(self, cuts: Sequence[Cut], turns: int = TURNS) -> tuple[float, float]:
        """The same, for the network that `cuts` make."""
        backup = cut(self._model, cuts)
        try:
            changed = {one.key for one in cuts}
            arrays = {key: tensor.numpy() for key, tensor in named_tensors(self._model) if key in changed}
            groups = {key: layer._groups for key, layer in self._convolutions.items() if key in changed}
        finally:
            backup.restore()
        return self._compare(self._load(Variant(arrays=arrays, conv_groups=groups)), turns)

    def _load(self, variant: Variant) -> Predictor:
        return self._network.back(self._network.divide(None), variant, plain=True)

    def _compare(self, pruned: Predictor, turns: int) -> tuple[float, float]:
        """The median of what a run takes of the one of the unpruned network beside it, as machines drift."""
        times = np.array([[self._time(network) for network in (self._full, pruned)] for _ in range(turns + 1)][1:])
        return float(times[:, 0].min()), float(np.median(times[:, 1] / times[:, 0]))

    def _time(self, network: Predictor) -> float:
        start = time.process_time()  # on one thread what the clock says, without waiting for other programs
        network([self._image])
        return 1000 * (time.process_time() - start)
