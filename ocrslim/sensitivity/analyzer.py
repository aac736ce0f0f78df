"""The accuracy that each group loses at each ratio.

Three files are kept while it is measured: `sen.jsonl`, the counts image by image, only appended to; and, derived
from it every few seconds and at the end, `sen.pickle` (PaddleSlim's table) and `sen.json` (what the table was
measured on, and what is known of each point). Interrupted at any moment, at most the images in flight are lost.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ocrslim.errors import ConfigError, DataError, LoweringError
from ocrslim.sensitivity.display import SensitivityDisplay
from ocrslim.sensitivity.recorder import Recorder, searches_of
from ocrslim.sensitivity.result import SensitivityResult
from ocrslim.sensitivity.results.store import PICTURES, Measurements, open_measurements
from ocrslim.sensitivity.results.table import EXACT, RECORD, TABLE
from ocrslim.sensitivity.search.scheduler import Scheduler
from ocrslim.sensitivity.search.search import Request, Search
from ocrslim.sensitivity.settings import DYGRAPH, Problem, Settings, Usage
from ocrslim.sensitivity.sharding import locked
from ocrslim.sensitivity.workers.backends import Backend, backends, warn_slow
from ocrslim.sensitivity.workers.messages import Job
from ocrslim.sensitivity.workers.pool import JobResult, ProcessWorkers, Workers
from ocrslim.sensitivity.workers.variants import Variants
from ocrslim.tasks import Counts
from ocrslim.utils import check_writable, progress_bar, remove_leftovers

logger = logging.getLogger(__name__)

_POLL = 0.5  # seconds


class Observer(Protocol):
    """Follows an analysis: displays it, or writes it down."""

    def measured(self, layer: str, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """Take in counts of the images from `start` on."""

    def tick(self) -> None:
        """Do what is due; called at least twice a second, while the workers have something to do."""


def analyse(
    problem: Problem,
    folder: Path,
    settings: Settings | None = None,
    overwrite: bool = False,
    processes: ProcessWorkers | None = None,
) -> SensitivityResult:
    """Measure the losses that a problem asks for, continuing what `folder` holds.

    Args:
        folder: gets `sen.jsonl`, `sen.pickle` and `sen.json`.
        overwrite: start over instead of refusing measurements of other weights, data or settings.
        processes: workers from `start_processes`, which are starting already; the caller ends them.

    Raises:
        ArtifactError: `folder` holds measurements of something else, or cannot be written.
        DataError: the baseline is zero, so there is nothing to lose.
    """
    settings = settings or Settings()
    measurements = _open(problem, check_writable(folder), settings, overwrite)
    analyzer = Analyzer(problem, settings, measurements)
    if analyzer.finished:
        analyzer.recorder.save(last=True)
        return SensitivityResult(problem, measurements, settings)
    for backend in backends(problem, settings, folder, processes):
        try:
            return SensitivityResult(problem, measurements, settings, analyzer.run(backend))
        except LoweringError as error:
            warn_slow(error)
    raise AssertionError("dygraph runs every network")


@contextlib.contextmanager
def start_processes(settings: Settings) -> Iterator[ProcessWorkers | None]:
    """Start worker processes, to be ready once the network is loaded and traced; None where none are needed."""
    if settings.engine == DYGRAPH:
        yield None
        return
    with ProcessWorkers(settings.processes) as processes:
        yield processes


def _open(problem: Problem, folder: Path, settings: Settings, overwrite: bool) -> Measurements:
    """Open the measurements that `folder` holds, or new ones."""
    share = settings.share
    if overwrite and share.one_folder:
        raise ConfigError(
            f"Global.overwrite: true, and {share.count} ranks write into {folder}: one could remove what "
            "another measures: remove the folder first, or choose another one with -o Global.save_model_dir=PATH"
        )

    def finished(found: Measurements) -> bool:
        points = dict.fromkeys(problem.layers, problem.ratios)
        return bool(found.baseline) and _settled(searches_of(found, points, settings))

    with locked(folder, share):  # other ranks may be at work already
        remove_leftovers(folder, TABLE, RECORD, *PICTURES)
        found = open_measurements(folder, problem.identity(), finished, overwrite=overwrite, journal=share.journal)
    if found.counts:
        logger.info("%s: continues with %d points measured", folder / TABLE, sum(map(len, found.table.values())))
    return found


def _settled(searches: Mapping[str, Search]) -> bool:
    return all(search.next() is None for search in searches.values())


def own_points(problem: Problem, settings: Settings) -> dict[str, Sequence[float]]:
    """Select the layers that this process measures, with their ratios; adaptive mode does not divide a layer."""
    parts = [[ratio] for ratio in problem.ratios] if settings.mode == EXACT else [list(problem.ratios)]
    units = [(layer, part) for layer in problem.layers for part in parts]
    costs = {layer: problem.cost(group) for layer, group in problem.layers.items()}
    found: dict[str, Sequence[float]] = {}
    for layer, part in settings.share.of(units, [costs[layer] for layer, _ in units]):
        found[layer] = [*found.get(layer, ()), *part]
    if not found:
        logger.info("%s: fewer points than parts: only the unpruned network is measured here", settings.share)
    return found


class TimeBudget:
    """The time that an analysis may take, from now on."""

    def __init__(self, minutes: float | None):
        """
        Args:
            minutes: None for as long as it takes.
        """
        self._minutes = minutes
        self._started = time.monotonic()

    @property
    def minutes_left(self) -> float | None:
        """Minutes that are left, at least 0; None where time is unlimited."""
        return None if self._minutes is None else max(0.0, self._minutes - (time.monotonic() - self._started) / 60)


class Analyzer:
    """Measures the points that are missing.

    Attributes:
        recorder: writes what is measured.
    """

    def __init__(self, problem: Problem, settings: Settings, measurements: Measurements):
        self._problem, self._settings, self._measurements = problem, settings, measurements
        self._budget = TimeBudget(settings.minutes)
        self._points = own_points(problem, settings)
        self._searches: dict[str, Search] = {}
        self.recorder = Recorder(problem, settings, measurements, self._searches)
        if measurements.baseline:
            self._begin_searches()

    @property
    def finished(self) -> bool:
        """Tell whether nothing is left to measure."""
        return bool(self._measurements.baseline) and _settled(self._searches)

    def run(self, backend: Backend) -> Usage:
        """Measure what is missing; whatever ends it, what was measured is on the disk.

        Raises:
            LoweringError: the backend cannot run the network.
            DataError: the baseline is zero, or an image has changed.
        """
        self.recorder.engine = backend.engine
        with backend.workers as workers:
            try:
                if not self._measurements.baseline:
                    self._measure_baseline(backend.variants, workers)
                    self._begin_searches()
                self._measure_points(backend.variants, workers)
            finally:
                for result in workers.unfinished():
                    self._take(result, [self.recorder])
                self.recorder.flush()
                self.recorder.save(last=True)
            return Usage(backend.engine, workers.seconds, workers.cached)

    def _begin_searches(self) -> None:
        self._searches.update(searches_of(self._measurements, self._points, self._settings))

    def _measure_baseline(self, variants: Variants, workers: Workers) -> None:
        """Measure the unpruned network, each worker on a part of the images."""
        images, metric = len(self._problem.labelled), self._problem.metric
        edges = np.linspace(0, images, workers.count + 1).astype(int).tolist()
        variant = variants.variant(None, 0.0)
        for worker, (start, stop) in enumerate(zip(edges, edges[1:])):
            workers.submit(worker, Job(None, 0.0, start, stop, variant))
        parts: dict[int, Sequence[Counts]] = {}
        with progress_bar(total=images, inner=True, desc="baseline", unit="img") as bar:
            while len(parts) < workers.count:
                for result in workers.wait(_POLL):
                    parts[result.worker] = result.counts
                    bar.update(len(result.counts))
        counts = [count for _, part in sorted(parts.items()) for count in part]
        score = self._problem.task.scores(counts)[metric]
        if score <= 0:
            raise DataError(
                f"the unpruned network scores {metric} 0 on {images} images: there is nothing "
                "to lose; check that weights and configuration belong together (ocrslim eval), or train first"
            )
        logger.info("baseline %s %.4f on %d images", metric, score, images)
        self._measurements.add(None, 0.0, 0, counts)

    def _measure_points(self, variants: Variants, workers: Workers) -> None:
        """Keep all workers busy until nothing is left to measure, or no time."""
        layers = self._problem.layers
        weights = {layer: self._problem.macs_share(layers[layer]) for layer in self._points}
        scheduler = Scheduler(self._searches, weights, limited=self._settings.minutes is not None)
        place: dict[int, str] = {}  # the layer that each worker was at last
        running: dict[int, Request] = {}
        images = len(self._problem.labelled)
        with SensitivityDisplay(self._searches, images, self._budget.minutes_left) as display:
            observers: list[Observer] = [self.recorder, display]
            while True:
                for worker in range(workers.count):
                    taken = None if worker in running else scheduler.take(place.get(worker))
                    if taken is not None:
                        layer, request = taken
                        place[worker], running[worker] = layer, request
                        variant = variants.variant(layers[layer], request.ratio)
                        workers.submit(worker, Job(layer, *request, variant))
                if not running or self._budget.minutes_left == 0:
                    return
                for observer in observers:
                    observer.tick()
                for result in workers.wait(_POLL):
                    self._take(result, observers)
                    scheduler.release(place[result.worker], running.pop(result.worker))

    def _take(self, result: JobResult, observers: Sequence[Observer]) -> None:
        """Tell search and observers what was measured; nobody, where it is a part of the baseline."""
        job, counts = result.job, result.counts
        if job.layer is None:
            return
        self._searches[job.layer].add(job.ratio, job.start, counts)
        for observer in observers:
            observer.measured(job.layer, job.ratio, job.start, counts)
