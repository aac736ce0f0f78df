"""Threads that measure points: each runs a network, finds the boxes and compares them, image by image.

Python threads are enough: Paddle, OpenCV and shapely let go of the interpreter while they compute, so one
thread's post-processing overlaps with another's forward pass.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from ocrslim.data import EvalSet
from ocrslim.evaluate import PostProcess
from ocrslim.metrics import DetMetric, ImageCounts
from ocrslim.runtime.runner import Clock
from ocrslim.variants import Runner, Variants


@dataclass(frozen=True)
class Task:
    """A point on some images.

    Attributes:
        group: name of the pruned group; None for the unpruned network.
        ratio: fraction of its channels that is removed.
        start: first image, in the measuring order.
        stop: behind the last one.
        variant: what the runner loads; None for the unpruned network.
    """

    group: str | None
    ratio: float
    start: int
    stop: int
    variant: Any = None


@dataclass(frozen=True)
class Done:
    """What a worker made of a task: fewer counts than it asked for where it was stopped, or an error."""

    worker: int
    task: Task
    counts: Sequence[ImageCounts]
    error: BaseException | None = None


class Workers:
    """Threads with one runner each; a context manager that ends them."""

    def __init__(
        self, variants: Variants, images: EvalSet, order: Sequence[int], post_processes: Sequence[PostProcess]
    ):
        """
        Args:
            order: index of each image of the measuring order.
            post_processes: one for each thread.
        """
        self._variants = variants
        self._images = images
        self._order = order
        self._post_processes = post_processes
        self._inboxes: list[queue.SimpleQueue[Task | None]] = [queue.SimpleQueue() for _ in range(variants.threads)]
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._clocks = [Clock() for _ in self._inboxes]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"worker {number}", daemon=True)
            for number in range(variants.threads)
        ]
        self.cached: Counter[int] = Counter()
        self.peak = 0

    def __enter__(self) -> Workers:
        self._cv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the cores are taken
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop after the images in flight."""
        self._stop.set()
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        cv2.setNumThreads(self._cv_threads)

    def give(self, worker: int, task: Task) -> None:
        """Let a worker that is idle measure `task`."""
        self._inboxes[worker].put(task)

    def wait(self, seconds: float) -> Done | None:
        """The next result; None where none came in time.

        Raises:
            Exception: what a worker met with; what it measured until then is still to be had from `stop`.
        """
        try:
            done = self._done.get(timeout=seconds)
        except queue.Empty:
            return None
        if done.error is not None:
            self._done.put(Done(done.worker, done.task, done.counts))
            raise done.error
        return done

    def stop(self) -> list[Done]:
        """End all threads, and return what they had measured."""
        self.__exit__()
        left = []
        while not self._done.empty():
            left.append(self._done.get())
        return left

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of all workers by what they did."""
        names = sorted({name for clock in self._clocks for name in clock.seconds})
        return {name: sum(clock.seconds.get(name, 0.0) for clock in self._clocks) for name in names}

    def _work(self, number: int) -> None:
        clock = self._clocks[number]
        measuring = _Measuring(self._variants, self._images, self._order, self._post_processes[number], clock)
        try:
            while True:
                with clock.on("idle"):
                    task = self._inboxes[number].get()
                if task is None:
                    return
                counts: list[ImageCounts] = []
                try:
                    measuring.measure(task, counts, self._stop)
                    self._done.put(Done(number, task, counts))
                except BaseException as error:  # it is for the main thread to judge
                    self._done.put(Done(number, task, counts, error))
                self.cached[number] = measuring.cached
                self.peak = max(self.peak, sum(self.cached.values()))
        finally:
            measuring.close()


class _Measuring:
    """One thread's runner, kept as long as tasks are of its group."""

    def __init__(
        self, variants: Variants, images: EvalSet, order: Sequence[int], post_process: PostProcess, clock: Clock
    ):
        self._variants = variants
        self._images = images
        self._order = order
        self._post_process = post_process
        self._clock = clock
        self._runner: Runner | None = None
        self._group: str | None = None
        self._ratio: float | None = None

    @property
    def cached(self) -> int:
        return 0 if self._runner is None else self._runner.cached

    def measure(self, task: Task, counts: list[ImageCounts], stop: threading.Event) -> None:
        """Append the counts of the task's images to `counts`, until `stop` is set."""
        runner = self._prepare(task)
        for index in self._order[task.start : task.stop]:
            if stop.is_set():
                return
            counts.append(self._count(runner, index))

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner, self._ratio = None, None

    def _prepare(self, task: Task) -> Runner:
        if self._runner is None or self._group != task.group:
            self.close()
            self._runner, self._group = self._variants.runner(task.group, self._clock), task.group
        if task.variant is not None and self._ratio != task.ratio:
            self._ratio = None
            self._runner.load(task.variant)
            self._ratio = task.ratio
        return self._runner

    def _count(self, runner: Runner, index: int) -> ImageCounts:
        shrink_map = runner(index)
        item = self._images[index]
        with self._clock.on("post-processing"):
            found = self._post_process(shrink_map, item.shape)
        with self._clock.on("matching"):
            return DetMetric().update(found, item.polys, item.ignore)
