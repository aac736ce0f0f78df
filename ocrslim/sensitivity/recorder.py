"""Writing down what is measured: into the journal at once, into table and record every few seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from ocrslim.sensitivity.results.store import Measurements
from ocrslim.sensitivity.results.table import ADAPTIVE
from ocrslim.sensitivity.search.search import AdaptiveSearch, ExactSearch, Search
from ocrslim.sensitivity.settings import Problem, Settings
from ocrslim.sensitivity.sharding import locked
from ocrslim.tasks import Counts

_SAVE_SECONDS = 2.0  # the journal has everything at once; what is derived from it follows


def searches_of(
    measurements: Measurements, points: Mapping[str, Sequence[float]], settings: Settings
) -> dict[str, Search]:
    """Build the search of each layer, which knows what is measured and what is left.

    Args:
        measurements: with a complete baseline.
        points: the ratios of each layer, by public name.
    """
    found: dict[str, Search] = {}
    for layer, ratios in points.items():
        basis = (ratios, measurements.baseline, measurements.identity.ratio, settings.tolerance)
        search: Search = AdaptiveSearch(*basis) if settings.mode == ADAPTIVE else ExactSearch(*basis)
        for ratio in ratios:
            search.add(ratio, 0, measurements.counts.get((layer, ratio), []))
        found[layer] = search
    return found


class Recorder:
    """Observes an analysis, and writes its three files.

    Attributes:
        engine: the engine that runs the network, for the record.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        measurements: Measurements,
        searches: Mapping[str, Search] | None = None,
    ):
        """
        Args:
            searches: of the layers that this process measures; they change meanwhile.
        """
        self.engine = str(measurements.record.get("engine", ""))
        self._problem, self._settings, self._measurements = problem, settings, measurements
        self._searches = {} if searches is None else searches
        self._queue: deque[tuple[str, float, int, Sequence[Counts]]] = deque()
        self._unsaved = False
        self._seconds_before = float(measurements.record.get("seconds", 0.0))
        self._started = self._saved = time.monotonic()

    def measured(self, layer: str, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """Queue counts; `tick` writes them, while the workers have something to do."""
        self._queue.append((layer, ratio, start, counts))

    def tick(self) -> None:
        """Write what is queued into the journal and, every few seconds, the files derived from it."""
        self.flush()
        if self._unsaved and time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def flush(self) -> None:
        """Write what is queued into the journal."""
        while self._queue:
            entry = self._queue.popleft()  # first: interrupted while it is written, it must not be written again
            self._measurements.add(*entry)
            self._unsaved = True

    def save(self, last: bool = False) -> None:
        """Write table and record, with what other ranks have measured; the last time their layers too."""
        measurements, share = self._measurements, self._settings.share
        if not measurements.baseline:
            return
        with locked(measurements.folder, share):
            if share.one_folder:
                measurements.refresh()
            searches = self._searches
            if last or share.count > 1:  # others may have measured some of a layer's points
                everything = dict.fromkeys(self._problem.layers, self._problem.ratios)
                searches = searches_of(measurements, everything, self._settings)
            measurements.save(
                searches,
                mode=self._settings.mode,
                tolerance=self._settings.tolerance,
                criterion=self._problem.config.prune.criterion,
                engine=self.engine,
                seconds=self._seconds_before + time.monotonic() - self._started,
                config=self._problem.config.tree,
            )
        self._unsaved, self._saved = False, time.monotonic()
