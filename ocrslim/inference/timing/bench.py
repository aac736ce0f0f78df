"""Exports compared: each in the runtimes that read it, with several numbers of threads and sizes of the image."""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocrslim.errors import OcrSlimError, WeightsError
from ocrslim.inference.runtimes import RUNTIMES
from ocrslim.inference.timing.process import WARM_UP, TimingProcess
from ocrslim.inference.timing.stand import Pass
from ocrslim.tasks import Shape, Task
from ocrslim.utils import progress_bar

_LEAST = 1e-6  # milliseconds: a clock's step may be longer than a pass


@dataclass(frozen=True)
class BenchSettings:
    """What exports are compared by.

    Attributes:
        runtimes: keys of `RUNTIMES`.
        threads: numbers of threads.
        shapes: [N, C, H, W] of images.
        rounds: timed passes of each export.
    """

    runtimes: Sequence[str]
    threads: Sequence[int]
    shapes: Sequence[Shape]
    rounds: int = 20

    @property
    def passes(self) -> int:
        """Passes of one export in one process, those to warm up included."""
        return len(self.shapes) * (self.rounds + WARM_UP)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of milliseconds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return those of some values, at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class BenchRow:
    """One export in one runtime, with one number of threads and one size of the image.

    Attributes:
        export: as it was named.
        file: what the runtime read.
        kernels: which of the runtime's kernels ran.
        size: height and width.
        wall_ms, cpu_ms: milliseconds of a pass: by the clock on the wall, and of the CPU, all threads together.
        ratio, cpu_ratio: the median over the rounds of the time relative to the first export's in the same round; None
            where that one does not run.
    """

    export: str
    file: Path
    runtime: str
    kernels: str
    threads: int
    size: tuple[int, int]
    wall_ms: Spread
    cpu_ms: Spread
    ratio: float | None
    cpu_ratio: float | None


@dataclass
class Bench:
    """What was found.

    Attributes:
        rows: by runtime, threads, size, and export in the order in which they were named.
        not_run: reasons, by export and runtime.
    """

    rows: list[BenchRow] = field(default_factory=list)
    not_run: dict[tuple[str, str], str] = field(default_factory=dict)


def bench(exports: Sequence[Path], task: Task, settings: BenchSettings) -> Bench:
    """Time exports of a task; what does not run is left out, with the reason.

    Raises:
        OcrSlimError: a runtime is not installed.
    """
    for runtime in settings.runtimes:
        RUNTIMES[runtime].require()
    found, places = Bench(), [*itertools.product(settings.runtimes, settings.threads)]
    with progress_bar(total=len(places) * len(exports) * settings.passes, desc="bench", unit="pass") as bar:
        for runtime, threads in places:
            bar.set_postfix_str(f"{RUNTIMES[runtime].title}, threads: {threads}", refresh=False)
            started = bar.n
            try:
                with TimingProcess(runtime, threads) as process:
                    found.rows += _Comparison(exports, task, process, found.not_run).rows(settings, bar.update)
            except OcrSlimError as fault:  # the process has crashed
                found.not_run |= {(str(export), runtime): str(fault) for export in exports}
            bar.total += bar.n - started - len(exports) * settings.passes  # for the time that remains
    return found


@dataclass(frozen=True)
class _Contender:
    """An export that is open in a process: its place among all, and its number there."""

    place: int
    file: Path
    number: int
    kernels: str = ""


class _Comparison:
    """The exports in one process."""

    def __init__(
        self, exports: Sequence[Path], task: Task, process: TimingProcess, not_run: dict[tuple[str, str], str]
    ):
        self._exports, self._task, self._process, self._not_run = exports, task, process, not_run

    def rows(self, settings: BenchSettings, on_pass: Callable[[], object]) -> Iterator[BenchRow]:
        """Time them."""
        opened = [one for place in range(len(self._exports)) if (one := self._opened(place))]
        for shape in settings.shapes:
            fitting = [one for each in opened if (one := self._checked(each, shape))]
            passes = self._process.time([one.number for one in fitting], shape, settings.rounds, on_pass=on_pass)
            base = passes[0] if fitting and fitting[0].place == 0 else None
            for one, taken in zip(fitting, passes):
                yield self._row(one, shape, taken, base)

    def _opened(self, place: int) -> _Contender | None:
        with self._noting(place):
            file = RUNTIMES[self._process.runtime].file_of(self._exports[place])
            return _Contender(place, file, self._process.open(file))
        return None

    def _checked(self, one: _Contender, shape: Shape) -> _Contender | None:
        with self._noting(one.place):
            return replace(one, kernels=self._process.check(one.number, one.file, self._task, shape))
        return None

    @contextlib.contextmanager
    def _noting(self, place: int) -> Iterator[None]:
        """Note why an export is left out."""
        try:
            yield
        except WeightsError as fault:
            self._not_run[str(self._exports[place]), self._process.runtime] = str(fault)

    def _row(self, one: _Contender, shape: Shape, taken: Sequence[Pass], base: Sequence[Pass] | None) -> BenchRow:
        wall, cpu = [each.wall for each in taken], [each.cpu for each in taken]
        export, process = str(self._exports[one.place]), self._process
        return BenchRow(
            *(export, one.file, process.runtime, one.kernels, process.threads, (shape[2], shape[3])),
            *(Spread.of(wall), Spread.of(cpu)),
            ratio=_ratio(wall, [each.wall for each in base]) if base else None,
            cpu_ratio=_ratio(cpu, [each.cpu for each in base]) if base else None,
        )


def _ratio(times: Sequence[float], base: Sequence[float]) -> float:
    return statistics.median(time / max(other, _LEAST) for time, other in zip(times, base))
