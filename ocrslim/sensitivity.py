"""How much accuracy each group loses at each ratio.

Three files are kept while it is measured: `sen.jsonl`, what came out image by image, only appended to;
and, derived from it after every point, `sen.pickle` (PaddleSlim's table) and `sen.json` (what the table was
measured on, and what is known of each point). Interrupted at any moment, at most the images in flight are lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.agenda import Agenda
from ocrslim.artifacts import check_writable, remove_leftovers
from ocrslim.data import EvalSet
from ocrslim.errors import DataError, GraphError, LoweringError
from ocrslim.evaluate import PostProcess
from ocrslim.graph.groups import ChannelGraph
from ocrslim.loss_table import ADAPTIVE, EXACT, RECORD, TABLE
from ocrslim.measurements import PICTURES, Identity, Measurements, open_measurements
from ocrslim.metrics import ImageCounts, scores_of
from ocrslim.models.names import to_public
from ocrslim.progress import progress_bar
from ocrslim.pruning.pruners import ChannelPruner
from ocrslim.search import AdaptiveSearch, ExactSearch, Request, Search
from ocrslim.sensitivity_display import SensitivityDisplay
from ocrslim.variants import DygraphVariants, RuntimeVariants, Variants, cores
from ocrslim.workers import Done, Task, Workers

logger = logging.getLogger(__name__)

_ORDER_SEED = 0  # of the order in which images are measured: a sample of the first is one of all
_POLL = 0.5  # seconds
AUTO, DYGRAPH = "auto", "dygraph"


@dataclass(frozen=True)
class Study:
    """What is analysed: everything that a point's loss depends on.

    Attributes:
        model: unpruned, weights loaded; unchanged when the analysis ends.
        graph: its channel groups.
        architecture: the `Architecture` section.
        images: the evaluation set.
        post_processor: makes what turns a shrink map into polygons, one for each thread.
        metric: which of precision, recall, hmean the losses are of.
        criterion: how channels are scored.
        pruner: scores them; not called before everything else is checked.
        hashes: what identifies weights, architecture, data and settings.
        config: the resolved configuration, kept in the record.
    """

    model: nn.Layer
    graph: ChannelGraph
    architecture: Mapping[str, Any]
    images: EvalSet
    post_processor: Callable[[], PostProcess]
    metric: str
    criterion: str
    pruner: Callable[[], ChannelPruner]
    hashes: Mapping[str, str]
    config: Mapping[str, Any]

    def identity(self) -> Identity:
        """What measurements of this study are marked with."""
        return Identity(self.graph, self.architecture, self.metric, len(self.images), self.hashes)

    def macs_share(self, group: str) -> float:
        """Share (0..1) of the network's MACs that makes the channels of a group."""
        return self.graph.macs_of(self.graph.groups[group]) / max(1, self.graph.macs)

    def public(self, group: str) -> str:
        """The name of a group in files and on screen."""
        return to_public(group, self.architecture)


@dataclass(frozen=True)
class Method:
    """How it is measured; no loss depends on it.

    Attributes:
        mode: `EXACT`, every point on all images; or `ADAPTIVE`, what is needed to know each layer's ratio.
        tolerance: the loss that ratios are wanted for.
        engine: "auto", the fast runtime where it can run the network; or "dygraph".
        workers: threads; None for one a core.
        memory: bytes for what the threads keep of the unpruned network.
        minutes: time to spend; None for as long as it takes.
        use_gpu: run on the GPU.
    """

    mode: str = EXACT
    tolerance: float = 0.02
    engine: str = "auto"
    workers: int | None = None
    memory: int = 1 << 30
    minutes: float | None = None
    use_gpu: bool = False


@dataclass
class Spent:
    """What a run took.

    Attributes:
        engine: what ran the network.
        seconds: by what all workers together did.
        cached: most bytes that were kept of the unpruned network at a time.
    """

    engine: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    cached: int = 0


@dataclass(frozen=True)
class Analysis:
    """What a folder holds after a run, and what the run took."""

    measured: Measurements
    spent: Spent


def analyse(
    study: Study,
    groups: Sequence[str],
    ratios: Sequence[float],
    folder: Path,
    method: Method | None = None,
    overwrite: bool = False,
) -> Analysis:
    """Measure the loss of the groups at the ratios, continuing what `folder` holds.

    Args:
        groups: group names (state-dict keys).
        ratios: fractions of channels to remove, each in 0..1.
        folder: gets `sen.jsonl`, `sen.pickle` and `sen.json`.
        overwrite: start over instead of refusing measurements of other weights, data or settings.

    Raises:
        ArtifactError: `folder` holds measurements of something else, or cannot be written.
        DataError: the baseline is zero, so there is nothing to lose.
    """
    method = method or Method()
    check_writable(folder)
    remove_leftovers(folder, TABLE, RECORD, *PICTURES)
    layers = {study.public(name): name for name in groups}

    def finished(found: Measurements) -> bool:
        return bool(found.baseline) and not _unfinished(_searches(found, layers, ratios, method))

    measured = open_measurements(folder, study.identity(), finished, overwrite=overwrite)
    if measured.counts:
        logger.info("%s: continues with %d points measured", folder / TABLE, sum(map(len, measured.table.values())))
    spent = _Run(study, method, measured, layers, ratios).run()
    return Analysis(measured, spent)


def _unfinished(searches: Mapping[str, Search]) -> bool:
    return any(search.next() is not None for search in searches.values())


def _searches(
    measured: Measurements, layers: Iterable[str], ratios: Sequence[float], method: Method
) -> dict[str, Search]:
    """What is known of each layer, and what is still to be measured of it."""
    found: dict[str, Search] = {}
    for layer in layers:
        settings = (ratios, measured.baseline, measured.identity.metric, method.tolerance)
        search: Search = AdaptiveSearch(*settings) if method.mode == ADAPTIVE else ExactSearch(*settings)
        for ratio in ratios:
            search.add(ratio, 0, measured.counts.get((layer, ratio), []))
        found[layer] = search
    return found


class _Run:
    """One call of `analyse`."""

    def __init__(
        self,
        study: Study,
        method: Method,
        measured: Measurements,
        layers: Mapping[str, str],
        ratios: Sequence[float],
    ):
        """`layers`: public name -> group."""
        self._study = study
        self._method = method
        self._measured = measured
        self._layers = layers
        self._ratios = ratios
        self._order = np.random.default_rng(_ORDER_SEED).permutation(len(study.images)).tolist()
        self._searches: dict[str, Search] = {}
        self._spent = Spent()
        self._started = time.monotonic()
        self._spent_before = float(measured.record.get("seconds", 0.0))

    def run(self) -> Spent:
        """Measure what is missing: on the fast runtime if it can run the network, in dygraph if not."""
        if self._measured.baseline:
            self._begin()
            if not _unfinished(self._searches):
                self._save()
                return self._spent
        for variants in self._ways():
            self._spent.engine = variants.name
            try:
                self._measure(variants)
                break
            except LoweringError as error:
                if isinstance(variants, DygraphVariants):
                    raise
                _say_slow(error)
        return self._spent

    def _ways(self) -> Iterator[Variants]:
        study, method = self._study, self._method
        if method.engine != DYGRAPH:
            try:
                yield RuntimeVariants(
                    study.model,
                    study.graph,
                    study.images,
                    study.pruner,
                    threads=1 if method.use_gpu else method.workers or cores(),
                    memory=method.memory,
                    folder=self._measured.folder,
                    use_gpu=method.use_gpu,
                )
            except (LoweringError, GraphError) as error:
                _say_slow(error)
        yield DygraphVariants(study.model, study.architecture, study.images, study.pruner)

    def _measure(self, variants: Variants) -> None:
        study = self._study
        posts = [study.post_processor() for _ in range(variants.threads)]
        with Workers(variants, study.images, self._order, posts) as workers:
            try:
                if not self._measured.baseline:
                    self._measure_baseline(variants, workers)
                    self._begin()
                self._measure_points(variants, workers)
            finally:
                for done in workers.stop():
                    self._take(done)
                self._save()
                self._spent.seconds = workers.seconds
                self._spent.cached = workers.peak

    def _measure_baseline(self, variants: Variants, workers: Workers) -> None:
        variants.prove()
        images = len(self._study.images)
        edges = np.linspace(0, images, variants.threads + 1).astype(int).tolist()
        for number, (start, stop) in enumerate(zip(edges, edges[1:])):
            workers.give(number, Task(None, 0.0, start, stop))
        parts: dict[int, Sequence[ImageCounts]] = {}
        with progress_bar(total=images, inner=True, desc="baseline", unit="img") as bar:
            while len(parts) < variants.threads:
                done = workers.wait(_POLL)
                if done is not None:
                    parts[done.task.start] = done.counts
                    bar.update(len(done.counts))
        counts = [count for _, part in sorted(parts.items()) for count in part]
        score = scores_of(counts)[self._study.metric]
        if score <= 0:
            raise DataError(
                f"the unpruned network scores {self._study.metric} 0 on {images} images: there is nothing "
                "to lose; check that weights and configuration belong together (ocrslim eval), or train first"
            )
        logger.info("baseline %s %.4f on %d images", self._study.metric, score, images)
        self._measured.add(None, 0.0, 0, counts)

    def _measure_points(self, variants: Variants, workers: Workers) -> None:
        weights = {layer: self._study.macs_share(group) for layer, group in self._layers.items()}
        agenda = Agenda(self._searches, weights, limited=self._method.minutes is not None)
        at: dict[int, str] = {}
        requests: dict[int, Request] = {}
        with SensitivityDisplay(self._searches, len(self._study.images), self._method.minutes) as display:
            while True:
                for worker in range(variants.threads):
                    taken = None if worker in requests else agenda.take(at.get(worker))
                    if taken is not None:
                        at[worker], requests[worker] = taken
                        workers.give(worker, self._task(variants, *taken))
                if not requests or self._out_of_time():
                    return
                display.tick()
                done = workers.wait(_POLL)
                if done is not None:
                    self._take(done)
                    agenda.release(at[done.worker], requests.pop(done.worker))
                    self._save()
                    display.measured(at[done.worker])

    def _task(self, variants: Variants, layer: str, request: Request) -> Task:
        variant = variants.variant(self._layers[layer], request.ratio)
        return Task(self._layers[layer], request.ratio, request.start, request.stop, variant)

    def _take(self, done: Done) -> None:
        """Keep what was measured; of a task that was broken off, what it came to."""
        task = done.task
        if task.group is not None and done.counts:
            layer = self._study.public(task.group)
            self._measured.add(layer, task.ratio, task.start, done.counts)
            self._searches[layer].add(task.ratio, task.start, done.counts)

    def _begin(self) -> None:
        self._searches = _searches(self._measured, self._layers, self._ratios, self._method)

    def _save(self) -> None:
        if not self._measured.baseline:
            return
        self._measured.save(
            self._searches,
            mode=self._method.mode,
            tolerance=self._method.tolerance,
            criterion=self._study.criterion,
            engine=self._spent.engine,
            seconds=self._spent_before + time.monotonic() - self._started,
            config=dict(self._study.config),
        )

    def _out_of_time(self) -> bool:
        minutes = self._method.minutes
        return minutes is not None and time.monotonic() - self._started > 60 * minutes


def _say_slow(error: Exception) -> None:
    logger.warning("%s: the analysis runs in dygraph instead, as exact and about ten times slower", error)
