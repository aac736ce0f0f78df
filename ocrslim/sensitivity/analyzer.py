"""How much accuracy each group loses at each ratio.

Three files are kept while it is measured: `sen.jsonl`, what came out image by image, only appended to;
and, derived from it every few seconds and at the end, `sen.pickle` (PaddleSlim's table) and `sen.json` (what the
table was measured on, and what is known of each point). Interrupted at any moment, at most the images in flight
are lost.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ocrslim.data import EvalSet
from ocrslim.errors import ArtifactError, ConfigError, DataError, GraphError, LoweringError
from ocrslim.evaluation import Scorer
from ocrslim.graph import Program, traced
from ocrslim.models import state_arrays
from ocrslim.sensitivity.display import SensitivityDisplay
from ocrslim.sensitivity.results.store import PICTURES, Measurements, open_measurements
from ocrslim.sensitivity.results.table import ADAPTIVE, EXACT, RECORD, TABLE
from ocrslim.sensitivity.search.scheduler import Agenda
from ocrslim.sensitivity.search.search import AdaptiveSearch, ExactSearch, Request, Search
from ocrslim.sensitivity.settings import DYGRAPH, ONEDNN, Analysis, Method, Spent, Study
from ocrslim.sensitivity.sharding import alone
from ocrslim.sensitivity.workers.measure import Measuring, Task
from ocrslim.sensitivity.workers.pool import Answer, ProcessWorkers, ThisProcess, Workers
from ocrslim.sensitivity.workers.process import Setup
from ocrslim.sensitivity.workers.variants import DygraphRunner, DygraphVariants, RuntimeVariants, Variants
from ocrslim.tasks import Counts
from ocrslim.utils import Clock, check_writable, progress_bar, remove_leftovers

logger = logging.getLogger(__name__)

_ORDER_SEED = 0  # of the order in which images are measured: a sample of the first is one of all
_POLL = 0.5  # seconds
_SAVE_SECONDS = 2.0  # the journal has everything at once; what is derived from it follows


def analyse(
    study: Study,
    groups: Sequence[str],
    ratios: Sequence[float],
    folder: Path,
    method: Method | None = None,
    overwrite: bool = False,
    processes: ProcessWorkers | None = None,
) -> Analysis:
    """Measure the loss of the groups at the ratios, continuing what `folder` holds.

    Args:
        groups: group names (state-dict keys).
        ratios: fractions of channels to remove, each in 0..1.
        folder: gets `sen.jsonl`, `sen.pickle` and `sen.json`.
        overwrite: start over instead of refusing measurements of other weights, data or settings.
        processes: what `start_processes` started meanwhile; the caller ends them.

    Raises:
        ArtifactError: `folder` holds measurements of something else, or cannot be written.
        DataError: the baseline is zero, so there is nothing to lose.
    """
    method = method or Method()
    check_writable(folder)
    if overwrite and method.share.one_folder:
        raise ConfigError(
            f"Global.overwrite: true, and {method.share.count} ranks write into {folder}: one could remove what "
            "another measures: remove the folder first, or choose another one with -o Global.save_model_dir=PATH"
        )
    layers = {study.public(name): name for name in groups}

    def finished(found: Measurements) -> bool:
        return bool(found.baseline) and not _unfinished(_searches(found, dict.fromkeys(layers, ratios), method))

    journal = method.share.journal
    with alone(folder, method.share):  # other ranks may be at work already
        remove_leftovers(folder, TABLE, RECORD, *PICTURES)
        measured = open_measurements(folder, study.identity(), finished, overwrite=overwrite, journal=journal)
    if measured.counts:
        logger.info("%s: continues with %d points measured", folder / TABLE, sum(map(len, measured.table.values())))
    spent = _Run(study, method, measured, layers, ratios).run(processes)
    return Analysis(measured, spent)


@contextlib.contextmanager
def start_processes(method: Method) -> Iterator[ProcessWorkers | None]:
    """Processes that measure, on their way while the network is loaded and traced; None where none are wanted."""
    if method.engine == DYGRAPH:
        yield None
        return
    with ProcessWorkers(method.processes) as processes:
        yield processes


def conclude(
    study: Study, groups: Sequence[str], ratios: Sequence[float], measured: Measurements, method: Method
) -> None:
    """Write table and record of what is measured already.

    Raises:
        ArtifactError: the unpruned network is not among it, so no loss can be told.
    """
    if not measured.baseline:
        raise ArtifactError(
            f"{measured.folder}: the unpruned network was not measured on all {len(study.labelled)} images: run "
            "sensitivity_anal.py, which goes on from here"
        )
    layers = {study.public(name): name for name in groups}
    run = _Run(study, method, measured, layers, ratios)
    run.save(last=True)


def _unfinished(searches: Mapping[str, Search]) -> bool:
    return any(search.next() is not None for search in searches.values())


def _searches(measured: Measurements, layers: Mapping[str, Sequence[float]], method: Method) -> dict[str, Search]:
    """What is known of each layer at its ratios, and what is still to be measured of it."""
    found: dict[str, Search] = {}
    for layer, ratios in layers.items():
        settings = (ratios, measured.baseline, measured.identity.ratio, method.tolerance)
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
        self._groups = layers
        self._all = dict.fromkeys(layers, ratios)
        self._mine = self._part(ratios)
        self._order = np.random.default_rng(_ORDER_SEED).permutation(len(study.labelled)).tolist()
        self._images = EvalSet(study.labelled, study.config, method.memory // 2, measured.folder)
        self._engine = str(measured.record.get("engine", ""))
        self._searches: dict[str, Search] = {}
        self._spent = Spent()
        self._started = self._saved = time.monotonic()
        self._unkept: list[Answer] = []
        self._unsaved = False
        self._spent_before = float(measured.record.get("seconds", 0.0))

    def _part(self, ratios: Sequence[float]) -> dict[str, Sequence[float]]:
        """The layers that this process measures, with their ratios; adaptive mode does not divide a layer."""
        parts = [[ratio] for ratio in ratios] if self._method.mode == EXACT else [list(ratios)]
        units = [(layer, part) for layer in self._groups for part in parts]
        costs = {layer: self._study.cost(group) for layer, group in self._groups.items()}
        found: dict[str, Sequence[float]] = {}
        for layer, part in self._method.share.of(units, [costs[layer] for layer, _ in units]):
            found[layer] = [*found.get(layer, ()), *part]
        return found

    def run(self, processes: ProcessWorkers | None = None) -> Spent:
        """Measure what is missing: on the fast runtime if it can run the network, in dygraph if not."""
        if not self._mine:
            logger.info("%s: fewer points than parts: only the unpruned network is measured here", self._method.share)
        if self._measured.baseline:
            self._begin()
            if not _unfinished(self._searches):
                self.save(last=True)
                return self._spent
        for variants, workers in self._ways(processes):
            try:
                self._measure(variants, workers)
                break
            except LoweringError as error:
                _say_slow(error)
        return self._spent

    def _ways(self, processes: ProcessWorkers | None) -> Iterator[tuple[Variants, Workers]]:
        study, method = self._study, self._method
        if method.engine != DYGRAPH:
            try:
                program = traced(study.model, [study.task.free_shape], training=False)
            except GraphError as error:
                _say_slow(error)
            else:
                self._engine = ONEDNN
                yield (
                    RuntimeVariants(study.model, study.graph, self._images, study.pruner, study.task),
                    (processes or ProcessWorkers(method.processes)).set_up(self._setup(program)),
                )
        self._engine = DYGRAPH
        yield DygraphVariants(study.architecture, study.pruner), self._this_process()

    def _setup(self, program: Program) -> Setup:
        study, method = self._study, self._method
        memory = method.memory // 2 // method.share.on_machine // method.processes
        arrays, folder = state_arrays(study.model), self._measured.folder
        return Setup(program, arrays, study.labelled, study.config, self._order, memory, folder, method.use_gpu)

    def _this_process(self) -> ThisProcess:
        study, clock = self._study, Clock()
        runner = DygraphRunner(study.model, self._images, clock)
        return ThisProcess(
            Measuring(lambda _: runner, self._images, self._order, Scorer(study.config), clock), clock.seconds
        )

    def _measure(self, variants: Variants, workers: Workers) -> None:
        with workers:
            try:
                if not self._measured.baseline:
                    self._measure_baseline(variants, workers)
                    self._begin()
                self._measure_points(variants, workers)
            finally:
                for answer in workers.broken_off():
                    self._learn(answer)
                self._keep()
                self.save(last=True)
                self._spent = Spent(self._engine, workers.seconds, workers.cached)

    def _measure_baseline(self, variants: Variants, workers: Workers) -> None:
        images, metric = len(self._study.labelled), self._study.metric
        edges = np.linspace(0, images, workers.count + 1).astype(int).tolist()
        variant = variants.variant(None, 0.0)
        for number, (start, stop) in enumerate(zip(edges, edges[1:])):
            workers.give(number, Task(None, 0.0, start, stop, variant))
        parts: dict[int, Sequence[Counts]] = {}
        with progress_bar(total=images, inner=True, desc="baseline", unit="img") as bar:
            while len(parts) < workers.count:
                for answer in workers.wait(_POLL):
                    parts[answer.worker] = answer.counts
                    bar.update(len(answer.counts))
        counts = [count for _, part in sorted(parts.items()) for count in part]
        score = self._study.task.scores(counts)[metric]
        if score <= 0:
            raise DataError(
                f"the unpruned network scores {metric} 0 on {images} images: there is nothing "
                "to lose; check that weights and configuration belong together (ocrslim eval), or train first"
            )
        logger.info("baseline %s %.4f on %d images", metric, score, images)
        self._measured.add(None, 0.0, 0, counts)

    def _measure_points(self, variants: Variants, workers: Workers) -> None:
        weights = {layer: self._study.macs_share(self._groups[layer]) for layer in self._mine}
        agenda = Agenda(self._searches, weights, limited=self._method.minutes is not None)
        at: dict[int, str] = {}
        requests: dict[int, Request] = {}
        with SensitivityDisplay(self._searches, len(self._study.labelled), self._minutes_left()) as display:
            while True:
                for worker in range(workers.count):
                    taken = None if worker in requests else agenda.take(at.get(worker))
                    if taken is not None:
                        at[worker], requests[worker] = taken
                        workers.give(worker, self._task(variants, *taken))
                if not requests or self._minutes_left() == 0:
                    return
                self._keep()  # while the workers have something to do
                self._save_now_and_then()
                display.tick()
                for answer in workers.wait(_POLL):
                    self._learn(answer)
                    agenda.release(at[answer.worker], requests.pop(answer.worker))
                    display.measured(at[answer.worker])

    def _task(self, variants: Variants, layer: str, request: Request) -> Task:
        variant = variants.variant(self._groups[layer], request.ratio)
        return Task(layer, request.ratio, request.start, request.stop, variant)

    def _learn(self, answer: Answer) -> None:
        """Tell the searches what was measured; of a task that was broken off, what it came to."""
        task = answer.task
        if task.layer is not None:
            self._searches[task.layer].add(task.ratio, task.start, answer.counts)
            self._unkept.append(answer)

    def _keep(self) -> None:
        """Have what was measured on the disk."""
        while self._unkept:
            answer = self._unkept.pop(0)  # first: interrupted while it is written, it must not be written again
            self._measured.add(answer.task.layer, answer.task.ratio, answer.task.start, answer.counts)
            self._unsaved = True

    def _begin(self) -> None:
        self._searches = _searches(self._measured, self._mine, self._method)

    def save(self, last: bool = False) -> None:
        """Write table and record, with what other ranks have measured; the last time their layers too."""
        measured, share = self._measured, self._method.share
        if not measured.baseline:
            return
        with alone(measured.folder, share):
            if share.one_folder:
                measured.refresh()
            parts = last or share.count > 1  # others may have measured some of a layer's points
            self._write(_searches(measured, self._all, self._method) if parts else self._searches)
        self._unsaved, self._saved = False, time.monotonic()

    def _save_now_and_then(self) -> None:
        if self._unsaved and time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def _write(self, searches: Mapping[str, Search]) -> None:
        self._measured.save(
            searches,
            mode=self._method.mode,
            tolerance=self._method.tolerance,
            criterion=self._study.config.prune.criterion,
            engine=self._engine,
            seconds=self._spent_before + time.monotonic() - self._started,
            config=self._study.config.tree,
        )

    def _minutes_left(self) -> float | None:
        """Of the time that may be spent; None where that is unlimited."""
        minutes = self._method.minutes
        return None if minutes is None else max(0.0, minutes - (time.monotonic() - self._started) / 60)


def _say_slow(error: Exception) -> None:
    logger.warning("%s: the analysis runs in dygraph instead, as exact and about ten times slower", error)
