"""Our way to measure sensitivities: what the command runs, with marks of when each measurement came in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from sensitivity_part import BEGAN, Answer, configuration, point

NOMINAL_PIXELS = 736 * 1280


def groups(request: Answer) -> Answer:
    """Our groups by state-dict key, in the network's order, and the network's MACs at 736x1280."""
    from ocrslim.utils.paddle_setup import import_paddle

    config = configuration(request)
    import_paddle()
    from ocrslim.pruning.prunable import load_prunable_network

    graph = load_prunable_network(config).graph
    return {"groups": list(graph.groups), "macs": graph.macs}


class _Marks:
    """When measurements came in, and what the workers had spent by then; context manager around `analyse`."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, str | None, float, int]] = []
        self.at_start: dict[str, float] = {}
        self._workers: Any = None
        self.entered = time.monotonic()  # where points begin if another rank has measured the baseline

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Mark while in the block."""
        from ocrslim.sensitivity.results.store import Measurements
        from ocrslim.sensitivity.workers.pool import ProcessWorkers

        add, set_up = Measurements.add, ProcessWorkers.set_up

        def marked_add(one: Any, layer: str | None, ratio: float, start: int, counts: Sequence[Any]) -> None:
            add(one, layer, ratio, start, counts)
            self.taken.append((time.monotonic(), layer, ratio, len(counts)))
            if layer is None and self._workers is not None:
                self.at_start = dict(self._workers.seconds)

        def marked_set_up(one: Any, setup: Any) -> Any:
            self._workers, self.entered = one, time.monotonic()
            return set_up(one, setup)

        with (
            mock.patch.object(Measurements, "add", marked_add),
            mock.patch.object(ProcessWorkers, "set_up", marked_set_up),
        ):
            yield


def measure(request: Answer) -> Answer:
    """Our analysis as the command runs it, without the pictures."""
    config = configuration(request)
    from ocrslim.utils.paddle_setup import import_paddle

    import_paddle()
    from ocrslim.sensitivity import run
    from ocrslim.sensitivity.analyzer import analyse, start_processes

    settings, marks = run.settings_of(config), _Marks()
    with marks.watching(), start_processes(settings) as processes:
        problem = run.problem_of(config)
        done = analyse(problem, Path(request["folder"]), settings, processes=processes)
    end = time.monotonic()
    points = [mark for mark in marks.taken if mark[1] is not None]
    start = next((at for at, layer, _, _ in marks.taken if layer is None), marks.entered)
    public = problem.layers
    table = done.measured.table
    during = {what: spent - marks.at_start.get(what, 0.0) for what, spent in done.usage.seconds.items()}
    return {
        "engine": done.usage.engine,
        "began": BEGAN,
        "start": start,
        "last": max((mark[0] for mark in points), default=start),
        "end": end,
        "image_points": sum(mark[3] for mark in points),
        "spent": during,
        "cached": list(done.usage.cached),
        "losses": {point(public[name], r): loss for name, losses in table.items() for r, loss in losses.items()},
        "counts": _by_image(done.measured, public),
        "layers": {public[name]: layer for name, layer in done.measured.record["layers"].items()},
        "arithmetic": _arithmetic(problem, public, points),
    }


def _by_image(measured: Any, public: dict[str, str]) -> dict[str, list[list[int]]]:
    """Counts of the complete points in the order of the label file."""
    import numpy as np

    from ocrslim.sensitivity.settings import measuring_order

    images = measured.identity.images
    place = np.argsort(measuring_order(images)).tolist()
    return {
        point(public[layer], ratio): [list(counts[at]) for at in place]
        for (layer, ratio), counts in measured.counts.items()
        if layer is not None and len(counts) == images
    }


def _arithmetic(problem: Any, public: dict[str, str], points: Sequence[Any]) -> dict[str, float]:
    """MACs of what was measured: of the pruned networks, and of what reuse leaves of them to compute.

    By layers as the channel graph counts them, scaled to the mean size of an image; what reuse leaves is the part
    behind the partition at its default price, and once for each layer and image the part in front.
    """
    from ocrslim.data.eval_set import EvalSet
    from ocrslim.graph.frontends.dygraph import traced
    from ocrslim.inference.incremental.network import RuntimeNetwork
    from ocrslim.models import state_arrays
    from ocrslim.pruning.cost import measure_cost

    images = EvalSet(problem.labelled, problem.config, memory=0)
    began = time.monotonic()
    share = images.pixels / len(images) / NOMINAL_PIXELS
    decoding = time.monotonic() - began
    network = RuntimeNetwork(
        traced(problem.model, [problem.task.free_shape], training=False),
        state_arrays(problem.model),
        problem.task.probe_shape,
    )
    pruner, graph = problem.pruner(), problem.graph
    whole = behind = front = 0.0
    for name in dict.fromkeys(mark[1] for mark in points):
        partition = network.split(graph.groups[public[name]])
        parts = {part: replace(graph, layers=_layers(graph, getattr(partition, part))) for part in ("prefix", "suffix")}
        here = [(ratio, count) for _, layer, ratio, count in points if layer == name]
        for ratio, count in here:
            cuts = pruner.cuts({public[name]: ratio})
            whole += share * count * measure_cost(graph, cuts).macs
            behind += share * count * measure_cost(parts["suffix"], cuts).macs
        seen = max(sum(count for ratio, count in here if ratio == one) for one in {ratio for ratio, _ in here})
        front += share * seen * parts["prefix"].macs
    return {"whole": whole, "with_reuse": behind + front, "image": share * graph.macs, "decoding": decoding}


def _layers(graph: Any, ops: Sequence[Any]) -> tuple[Any, ...]:
    keys = {value.parameter for op in ops for value in op.values() if value.parameter}
    return tuple(layer for layer in graph.layers if layer.key in keys)
