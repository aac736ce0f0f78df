"""Latency of pruned networks on Paddle Inference with oneDNN, relative to the unpruned one.

The network's export is timed. The compiled runtime of the analysis is nearly twice as fast and spends its time in
other layers, and only Paddle Inference knows which operators of an export it fuses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from paddle import nn

from ocrslim.export import save_inference
from ocrslim.graph import ChannelGraph, deployed
from ocrslim.inference import InferenceEngine
from ocrslim.pruning import Cut, combine, cut
from ocrslim.tasks import Task
from ocrslim.utils import scratch_folder

THREADS = 1
TURNS = 5  # enough for a fit over many networks


class Stopwatch:
    """Times pruned networks in turns with the unpruned one, so that other load on the machine affects both."""

    def __init__(self, model: nn.Layer, graph: ChannelGraph, task: Task):
        """
        Args:
            model: unpruned; restored after every measurement.
            graph: its channel groups.
            task: gives the shape of the input, `nominal_shape`.
        """
        self._model, self._graph, self._shape = model, graph, task.free_shape
        self._image = np.random.default_rng(0).standard_normal(task.nominal_shape).astype(np.float32)
        self._full = self._exported()

    def of_removed(self, removed: Mapping[str, int]) -> tuple[float, float]:
        """Time the network with some units removed.

        Args:
            removed: number of units to remove by group.

        Returns:
            milliseconds of the unpruned network, and the pruned network's time relative to it.
        """
        members = [(m, count) for name, count in removed.items() for m in self._graph.groups[name].members]
        return self.of_cuts(combine(Cut(m.key, m.axis, m.size, m.keep(range(count))) for m, count in members))

    def of_cuts(self, cuts: Sequence[Cut], turns: int = TURNS) -> tuple[float, float]:
        """Time the network pruned by `cuts`; returns the same as `of_removed`."""
        backup = cut(self._model, cuts)
        try:
            pruned = self._exported()
        finally:
            backup.restore()
        return self._compare(pruned, turns)

    def _exported(self) -> InferenceEngine:
        """Export and load the network as it is now, and run it once, so that its kernels are chosen."""
        with scratch_folder() as place:
            save_inference(deployed(self._model), place / "inference", self._shape)
            engine = InferenceEngine(place, threads=THREADS, onednn=True, own=True)
            engine(self._image)
        return engine

    def _compare(self, pruned: InferenceEngine, turns: int) -> tuple[float, float]:
        """Least time of the unpruned network, and the median ratio of paired runs, as a machine's speed drifts."""
        times = np.array([[self._time(network) for network in (self._full, pruned)] for _ in range(turns)])
        return float(times[:, 0].min()), float(np.median(times[:, 1] / times[:, 0]))

    def _time(self, network: InferenceEngine) -> float:
        # CPU time of this thread, which excludes waiting for other programs; that of the process would include threads
        # that oneDNN starts and leaves spinning (its batch norm does for channels that are no multiple of 8)
        start = time.thread_time()
        network(self._image)
        return 1000 * (time.thread_time() - start)
