"""Workers, which measure points: processes, each on a core of its own, or this process itself."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from ocrslim.errors import OcrSlimError
from ocrslim.sensitivity.workers.measure import Measurer
from ocrslim.sensitivity.workers.messages import Finished, Job, Setup
from ocrslim.tasks import Counts
from ocrslim.utils import start_python

logger = logging.getLogger(__name__)

_PROGRAM = (
    "from ocrslim.utils import import_paddle; import_paddle(); "
    "from ocrslim.sensitivity.workers.process import main; sys.exit(main())"
)
# feature maps in huge pages, and kept from one pass to the next: 5 to 10 % of a pass (other C libraries ignore it)
_HUGE_PAGES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"
_MAX_RESTARTS = 3  # of a worker over one job


@dataclass(frozen=True)
class JobResult:
    """The counts that a job gave.

    Attributes:
        worker: number of the worker that measured it.
        counts: of its images, in their order; fewer than asked for where it is unfinished.
    """

    worker: int
    job: Job
    counts: tuple[Counts, ...]


class Workers(Protocol):
    """Measure jobs; a context manager."""

    count: int

    def __enter__(self) -> Workers: ...

    def __exit__(self, *exc: object) -> None: ...

    def submit(self, worker: int, job: Job) -> None:
        """Let a worker that is free measure `job`."""

    def wait(self, seconds: float) -> list[JobResult]:
        """Results of finished jobs, as soon as there is one; none when the time is over."""
        ...

    def unfinished(self) -> list[JobResult]:
        """Partial results of the jobs that are not finished."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of all workers, by activity."""
        ...

    @property
    def cached(self) -> tuple[int, int]:
        """Most bytes kept at a time, of images and of the unpruned network."""
        ...


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    job: Job | None = None
    counts: list[Counts] = field(default_factory=list)
    restarts: int = 0
    last: Finished | None = None
    loaded: tuple[str | None, float] | None = None


class ProcessWorkers:
    """Worker processes, until the context is left. One that crashes is restarted, and its job goes on where it was."""

    def __init__(self, count: int):
        """Start them: importing Paddle takes them seconds, in which the caller can prepare the setup.

        Args:
            count: processes; each computes in one thread.
        """
        self.count = count
        self._setup: Setup | None = None
        self._lost_seconds: defaultdict[str, float] = defaultdict(float)
        self._peak = (0, 0)
        self._started = time.monotonic()
        self._workers = [self._start() for _ in range(count)]

    def set_up(self, setup: Setup) -> ProcessWorkers:
        """Send all of them what they measure with; returns itself."""
        self._setup, self._started = setup, time.monotonic()
        for one in self._workers:
            self._send_setup(one)
        return self

    def __enter__(self) -> ProcessWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._workers:
            one.connection.close()
            one.process.kill()
            one.process.wait()

    def submit(self, worker: int, job: Job) -> None:
        """See `Workers.submit`."""
        one = self._workers[worker]
        one.job, one.counts, one.restarts = job, [], 0
        self._send(worker, job)

    def wait(self, seconds: float) -> list[JobResult]:
        """See `Workers.wait`.

        Raises:
            Exception: a worker's own.
            OcrSlimError: a worker crashes again and again over one job.
        """
        end = time.monotonic() + seconds
        results: list[JobResult] = []
        while not results and (left := end - time.monotonic()) > 0:
            numbers = {one.connection: number for number, one in enumerate(self._workers)}
            for connection in wait(list(numbers), left):
                results += self._receive(numbers[connection])  # type: ignore[index]
        return results

    def unfinished(self) -> list[JobResult]:
        """See `Workers.unfinished`."""
        return [
            JobResult(number, one.job, tuple(one.counts))
            for number, one in enumerate(self._workers)
            if one.job is not None and one.counts
        ]

    @property
    def seconds(self) -> Mapping[str, float]:
        """See `Workers.seconds`; what is not accounted for is idle."""
        total = defaultdict(float, self._lost_seconds)
        for one in self._workers:
            for name, seconds in (one.last.seconds if one.last else {}).items():
                total[name] += seconds
        total["idle"] = max(0.0, self.count * (time.monotonic() - self._started) - sum(total.values()))
        return dict(total)

    @property
    def cached(self) -> tuple[int, int]:
        """See `Workers.cached`."""
        return self._peak

    def _start(self) -> _Worker:
        settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        settings["GLIBC_TUNABLES"] = os.pathsep.join(filter(None, [os.environ.get("GLIBC_TUNABLES"), _HUGE_PAGES]))
        return _Worker(*start_python(_PROGRAM, settings))

    def _send_setup(self, one: _Worker) -> None:
        with contextlib.suppress(OSError):  # it has crashed: `wait` notices
            one.connection.send(self._setup)

    def _send(self, worker: int, job: Job) -> None:
        """Send a job, without the variant where the worker has it already."""
        one, point = self._workers[worker], (job.layer, job.ratio)
        try:
            one.connection.send(replace(job, variant=None) if one.loaded == point else job)
            one.loaded = point
        except OSError:
            self._restart(worker)

    def _receive(self, worker: int) -> Iterator[JobResult]:
        one = self._workers[worker]
        try:
            message = one.connection.recv()
        except (EOFError, OSError):
            self._restart(worker)
            return
        if isinstance(message, Exception):
            one.loaded = None
            raise message
        if isinstance(message, Finished):
            one.last = message
            both = zip(*((p.last.images, p.last.cached) for p in self._workers if p.last))
            images, cached = map(sum, both)
            self._peak = max(self._peak[0], images), max(self._peak[1], cached)
            assert one.job is not None
            job, one.job = one.job, None
            yield JobResult(worker, job, tuple(one.counts))
        else:
            one.counts.append(message)

    def _restart(self, worker: int) -> None:
        """Start another process for one that crashed, and let it go on with the job."""
        crashed = self._workers[worker]
        crashed.connection.close()
        status, job = crashed.process.wait(), crashed.job
        if crashed.restarts == _MAX_RESTARTS:
            raise OcrSlimError(
                f"worker crashed {_MAX_RESTARTS + 1} times on {job or 'its start'} (exit status {status}): memory may "
                "not suffice: try -o Prune.workers=1, or -o Prune.engine=dygraph"
            )
        logger.warning(
            "worker exited with status %d while %s; restarted", status, f"measuring {job}" if job else "starting"
        )
        for name, seconds in (crashed.last.seconds if crashed.last else {}).items():
            self._lost_seconds[name] += seconds
        fresh = self._start()
        self._send_setup(fresh)
        fresh.job, fresh.counts, fresh.restarts = job, crashed.counts, crashed.restarts + 1
        self._workers[worker] = fresh
        if job is not None:
            self._send(worker, replace(job, start=job.start + len(fresh.counts)))


class ThisProcess:
    """One worker: this process, image by image whenever it is waited for."""

    count = 1

    def __init__(self, measurer: Measurer, seconds: Mapping[str, float]):
        """
        Args:
            seconds: of the clock that `measurer` charges.
        """
        self._measurer = measurer
        self._job: Job | None = None
        self._counts: list[Counts] = []
        self._remaining: Iterator[Counts] = iter(())
        self.seconds = seconds
        self.cached = (0, 0)

    def __enter__(self) -> ThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._measurer.close()

    def submit(self, worker: int, job: Job) -> None:
        """See `Workers.submit`."""
        self._job, self._counts, self._remaining = job, [], self._measurer.measure(job)

    def wait(self, seconds: float) -> list[JobResult]:
        """See `Workers.wait`."""
        end = time.monotonic() + seconds
        while self._job is not None and time.monotonic() < end:
            counts = next(self._remaining, None)
            if counts is None:
                job, self._job = self._job, None
                return [JobResult(0, job, tuple(self._counts))]
            self._counts.append(counts)
        return []

    def unfinished(self) -> list[JobResult]:
        """See `Workers.unfinished`."""
        return [JobResult(0, self._job, tuple(self._counts))] if self._job is not None and self._counts else []
