"""How long pruned variants of a network take on Paddle Inference with oneDNN, held against the unpruned one.

What is timed is the network's export. The runtime of the analysis, which saves work by algebra, is nearly twice as
fast, and other layers matter there; and how much of an export is fused, Paddle Inference alone knows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from paddle import nn

from ocrslim.export import save_inference
from ocrslim.graph import ChannelGraph
from ocrslim.inference import InferenceEngine
from ocrslim.pruning import Cut, combine, cut
from ocrslim.tasks import Task
from ocrslim.utils import scratch_folder

THREADS = 1
TURNS = 5  # enough where many networks are timed and what they have in common is wanted


class Stopwatch:
    """Times variants in turns with the unpruned network, so that whatever else the machine does meets both."""

    def __init__(self, model: nn.Layer, graph: ChannelGraph, task: Task):
        """
        Args:
            model: unpruned; put back after every measurement.
            task: whose nominal shape the input has.
        """
        self._model, self._graph, self._shape = model, graph, task.free_shape
        self._image = np.random.default_rng(0).standard_normal(task.nominal_shape).astype(np.float32)
        self._full = self._exported()

    def of_removed(self, removed: Mapping[str, int]) -> tuple[float, float]:
        """Milliseconds of the unpruned network, and as part of it those of one with so many units of groups removed."""
        members = [(m, count) for name, count in removed.items() for m in self._graph.groups[name].members]
        return self.of_cuts(combine(Cut(m.key, m.axis, m.size, m.keep(range(count))) for m, count in members))

    def of_cuts(self, cuts: Sequence[Cut], turns: int = TURNS) -> tuple[float, float]:
        """The same, for the network that `cuts` make."""
        backup = cut(self._model, cuts)
        try:
            pruned = self._exported()
        finally:
            backup.restore()
        return self._compare(pruned, turns)

    def _exported(self) -> InferenceEngine:
        """The network as it is now, exported and loaded; it has run once, so that its kernels are settled."""
        with scratch_folder() as place:
            save_inference(self._model, place / "inference", self._shape)
            engine = InferenceEngine(place, threads=THREADS, onednn=True, own=True)
            engine(self._image)
        return engine

    def _compare(self, pruned: InferenceEngine, turns: int) -> tuple[float, float]:
        """The median of what a run takes of the one of the unpruned network beside it, as machines drift."""
        times = np.array([[self._time(network) for network in (self._full, pruned)] for _ in range(turns)])
        return float(times[:, 0].min()), float(np.median(times[:, 1] / times[:, 0]))

    def _time(self, network: InferenceEngine) -> float:
        # on one thread what the clock says, without waiting for other programs; the whole process would count threads
        # that oneDNN starts and leaves spinning (its batch norm of channels that are no multiple of 8 does)
        start = time.thread_time()
        network(self._image)
        return 1000 * (time.thread_time() - start)
