"""Latency of pruned networks where they will run (`Export.runtime`, `Export.threads`), relative to the unpruned one.

The network's export is timed, in the format that the runtime reads. The compiled runtime of the analysis is nearly
twice as fast and spends its time in other layers, and only the runtime knows which operators of an export it fuses.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import WeightsError
from ocrslim.export import network_for
from ocrslim.graph import ChannelGraph
from ocrslim.inference import RUNTIMES, Pass, TimingProcess
from ocrslim.pruning import Cut, combine, cut
from ocrslim.utils import scratch_folder

TURNS = 5  # enough for a fit over many networks
_WARM_UP = 1  # which chooses the kernels


class Stopwatch:
    """Times pruned networks in turns with the unpruned one, so that other load on the machine affects both.

    A context manager: they run in a process of their own, which is started when it is needed.
    """

    def __init__(self, model: nn.Layer, config: Config):
        """
        Args:
            model: unpruned; restored after every measurement.
            config: says where it will run, and the shape of its input, the task's `nominal_shape`.
        """
        self._model, self._config = model, config

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, *exc: object) -> None:
        if "_process" in vars(self):
            self._process.__exit__(*exc)

    def require(self) -> None:
        """Require that the runtime runs the unpruned network.

        Raises:
            ExportError, WeightsError: it cannot be exported for the runtime, or does not run there.
        """
        self._passes([self._full], 1)

    def of_removed(self, graph: ChannelGraph, removed: Mapping[str, int]) -> tuple[float, float]:
        """Time the network with some units removed.

        Args:
            graph: the channel groups of the network.
            removed: number of units to remove by group.

        Returns:
            milliseconds of the unpruned network, and the pruned network's time relative to it.

        Raises:
            ExportError, WeightsError: it cannot be exported for the runtime, or does not run there.
        """
        members = [(m, count) for name, count in removed.items() for m in graph.groups[name].members]
        return self.of_cuts(combine(Cut(m.key, m.axis, m.size, m.keep(range(count))) for m, count in members))

    def of_cuts(self, cuts: Sequence[Cut], turns: int = TURNS) -> tuple[float, float]:
        """Time the network pruned by `cuts`; returns and raises the same as `of_removed`."""
        full = self._full
        backup = cut(self._model, cuts)
        try:
            pruned = self._exported()
        finally:
            backup.restore()
        try:
            return self._compare(full, pruned, turns)
        finally:
            self._process.close(pruned)

    @functools.cached_property
    def _process(self) -> TimingProcess:
        return TimingProcess(self._config.export.runtime, self._config.export.threads)

    @functools.cached_property
    def _full(self) -> int:
        return self._exported()

    def _exported(self) -> int:
        """Export the network as it is now and open it; return its number in the process."""
        with scratch_folder() as place:
            path = network_for(self._config.export.runtime, self._model, self._config, place)
            with self._naming_the_key(path):
                return self._process.open(path, own=True)

    def _compare(self, full: int, pruned: int, turns: int) -> tuple[float, float]:
        """Least time of the unpruned network, and the median ratio of paired runs, as a machine's speed drifts."""
        passes = self._passes([full, pruned], turns)
        times = np.array([[self._milliseconds(one) for one in taken] for taken in passes])
        return float(times[0].min()), float(np.median(times[1] / times[0]))

    def _passes(self, networks: Sequence[int], turns: int) -> list[list[Pass]]:
        with self._naming_the_key(None):
            return self._process.time(networks, self._config.task.nominal_shape, turns, _WARM_UP)

    @contextlib.contextmanager
    def _naming_the_key(self, path: Path | None) -> Iterator[None]:
        """Say of a network that the runtime refuses which setting asks for that runtime, not where a copy of it was."""
        try:
            yield
        except WeightsError as error:
            runtime = self._config.export.runtime
            others = " or ".join(name for name in RUNTIMES if name != runtime)
            reason = str(error).removeprefix(f"{path}: ")
            raise WeightsError(
                f"Export.runtime: {runtime} does not run the network ({reason}): name another with "
                f"-o Export.runtime={others}, or another kind of Prune.target"
            ) from None

    def _milliseconds(self, one: Pass) -> float:
        # CPU time of one thread, which excludes waiting for other programs; that of the process would include threads
        # that oneDNN starts and leaves spinning (its batch norm does for channels that are no multiple of 8)
        return one.thread if self._config.export.threads == 1 else one.wall
