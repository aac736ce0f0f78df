"""Those who measure points: processes, each on a core of its own, or this process itself."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

import ocrslim
from ocrslim.errors import OcrSlimError
from ocrslim.sensitivity.workers.measure import Measuring, Task
from ocrslim.sensitivity.workers.process import Finished, Setup
from ocrslim.tasks import Counts

logger = logging.getLogger(__name__)

# not -m: what comes back is pickled by the module's own name
_PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # Ctrl-C is for who has the results
    "from ocrslim.utils import import_paddle; import_paddle(); "
    "from ocrslim.sensitivity.workers.process import main; sys.exit(main())"
)
# feature maps in huge pages, and kept from one pass to the next: 5 to 10 % of a pass (other C libraries ignore it)
_HUGE_PAGES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"
_LIVES = 3  # times that workers may die over one task before it is given up


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes:
        worker: number of who measured it.
        counts: of its images, in their order; fewer than asked for where it was broken off.
    """

    worker: int
    task: Task
    counts: tuple[Counts, ...]


class Workers(Protocol):
    """Measure tasks; a context manager."""

    count: int

    def __enter__(self) -> Workers: ...

    def __exit__(self, *exc: object) -> None: ...

    def give(self, worker: int, task: Task) -> None:
        """Let a worker that is free measure `task`."""

    def wait(self, seconds: float) -> list[Answer]:
        """Tasks that were finished, as soon as there is one; none when the time is over."""
        ...

    def broken_off(self) -> list[Answer]:
        """What is known of tasks that were not finished."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of all workers by what they were spent on."""
        ...

    @property
    def cached(self) -> tuple[int, int]:
        """Most bytes kept at a time, of images and of the unpruned network."""
        ...


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    connection: Connection
    task: Task | None = None
    counts: list[Counts] = field(default_factory=list)
    deaths: int = 0
    last: Finished | None = None
    loaded: tuple[str | None, float] | None = None


class ProcessWorkers:
    """Processes of their own, until the context is left. One that dies is replaced, its task goes on where it was."""

    def __init__(self, count: int):
        """Start them: they take seconds to import Paddle, which the caller has use for.

        Args:
            count: processes; each computes in one thread.
        """
        self.count = count
        self._setup: Setup | None = None
        self._gone: defaultdict[str, float] = defaultdict(float)
        self._peak = (0, 0)
        self._begun = time.monotonic()
        self._processes = [self._start() for _ in range(count)]

    def set_up(self, setup: Setup) -> ProcessWorkers:
        """Tell all of them what they measure with; returns itself."""
        self._setup, self._begun = setup, time.monotonic()
        for one in self._processes:
            self._tell(one)
        return self

    def __enter__(self) -> ProcessWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._processes:
            one.connection.close()
            one.process.kill()
            one.process.wait()

    def give(self, worker: int, task: Task) -> None:
        """See `Workers.give`."""
        one = self._processes[worker]
        one.task, one.counts, one.deaths = task, [], 0
        self._send(worker, task)

    def wait(self, seconds: float) -> list[Answer]:
        """See `Workers.wait`.

        Raises:
            Exception: what a worker met with.
            OcrSlimError: workers die over one and the same task.
        """
        end = time.monotonic() + seconds
        answers: list[Answer] = []
        while not answers and (left := end - time.monotonic()) > 0:
            numbers = {one.connection: number for number, one in enumerate(self._processes)}
            for connection in wait(list(numbers), left):
                answers += self._receive(numbers[connection])  # type: ignore[index]
        return answers

    def broken_off(self) -> list[Answer]:
        """See `Workers.broken_off`."""
        return [
            Answer(number, one.task, tuple(one.counts))
            for number, one in enumerate(self._processes)
            if one.task is not None and one.counts
        ]

    @property
    def seconds(self) -> Mapping[str, float]:
        """See `Workers.seconds`; what is not accounted for is idle."""
        total = defaultdict(float, self._gone)
        for one in self._processes:
            for name, seconds in (one.last.seconds if one.last else {}).items():
                total[name] += seconds
        total["idle"] = max(0.0, self.count * (time.monotonic() - self._begun) - sum(total.values()))
        return dict(total)

    @property
    def cached(self) -> tuple[int, int]:
        """See `Workers.cached`."""
        return self._peak

    def _start(self) -> _Process:
        ours, theirs = Pipe()
        number = theirs.fileno()
        paths = [str(Path(ocrslim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        settings["GLIBC_TUNABLES"] = os.pathsep.join(filter(None, [os.environ.get("GLIBC_TUNABLES"), _HUGE_PAGES]))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(number)],
            pass_fds=[number],
            env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        return _Process(process, ours)

    def _tell(self, one: _Process) -> None:
        with contextlib.suppress(OSError):  # it has died; whoever waits for it notices
            one.connection.send(self._setup)

    def _send(self, worker: int, task: Task) -> None:
        """Without the variant where the process has it already."""
        one, point = self._processes[worker], (task.layer, task.ratio)
        try:
            one.connection.send(replace(task, variant=None) if one.loaded == point else task)
            one.loaded = point
        except OSError:
            self._replace(worker)

    def _receive(self, worker: int) -> Iterator[Answer]:
        one = self._processes[worker]
        try:
            message = one.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if isinstance(message, Exception):
            one.loaded = None
            raise message
        if isinstance(message, Finished):
            one.last = message
            both = zip(*((p.last.images, p.last.cached) for p in self._processes if p.last))
            images, cached = map(sum, both)
            self._peak = max(self._peak[0], images), max(self._peak[1], cached)
            assert one.task is not None
            task, one.task = one.task, None
            yield Answer(worker, task, tuple(one.counts))
        else:
            one.counts.append(message)

    def _replace(self, worker: int) -> None:
        """Start another process for one that died, and let it go on with the task."""
        dead = self._processes[worker]
        dead.connection.close()
        status = dead.process.wait()
        if dead.deaths == _LIVES:
            raise OcrSlimError(
                f"worker processes end with status {status} again and again at {_named(dead.task)}: with "
                f"{self.count} of them memory may not suffice: try -o Prune.workers=1, or -o Prune.engine=dygraph"
            )
        logger.warning("a worker process ended with status %d at %s: another one goes on", status, _named(dead.task))
        for name, seconds in (dead.last.seconds if dead.last else {}).items():
            self._gone[name] += seconds
        fresh = self._start()
        self._tell(fresh)
        fresh.task, fresh.counts, fresh.deaths = dead.task, dead.counts, dead.deaths + 1
        self._processes[worker] = fresh
        if fresh.task is not None:
            task = fresh.task
            start = task.start + len(fresh.counts)
            self._send(worker, Task(task.layer, task.ratio, start, task.stop, task.variant))


def _named(task: Task | None) -> str:
    return "its start" if task is None else f"{task.layer or 'the unpruned network'} {task.ratio:g}"


class ThisProcess:
    """One worker: this process, image by image whenever it is waited for."""

    count = 1

    def __init__(self, measuring: Measuring, seconds: Mapping[str, float]):
        """`seconds`: of the clock that `measuring` charges."""
        self._measuring = measuring
        self._task: Task | None = None
        self._counts: list[Counts] = []
        self._going: Iterator[Counts] = iter(())
        self.seconds = seconds
        self.cached = (0, 0)

    def __enter__(self) -> ThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._measuring.close()

    def give(self, worker: int, task: Task) -> None:
        """See `Workers.give`."""
        self._task, self._counts, self._going = task, [], self._measuring.measure(task)

    def wait(self, seconds: float) -> list[Answer]:
        """See `Workers.wait`."""
        end = time.monotonic() + seconds
        while self._task is not None and time.monotonic() < end:
            counts = next(self._going, None)
            if counts is None:
                task, self._task = self._task, None
                return [Answer(0, task, tuple(self._counts))]
            self._counts.append(counts)
        return []

    def broken_off(self) -> list[Answer]:
        """See `Workers.broken_off`."""
        return [Answer(0, self._task, tuple(self._counts))] if self._task is not None and self._counts else []
