"""Measuring points: run the network, post-process its output, compare it with the labels, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ocrslim.data import EvalSet
from ocrslim.evaluation import Scorer
from ocrslim.inference import Output
from ocrslim.sensitivity.workers.messages import Job
from ocrslim.tasks import Counts
from ocrslim.utils import Clock


class Runner(Protocol):
    """Runs variants of one group over the images."""

    def load(self, variant: Any) -> None:
        """Make `variant` the one that runs."""

    def many(self, indices: Sequence[int]) -> Iterator[Output]:
        """Yield the network's outputs for the images at `indices`, in that order."""
        ...

    def close(self) -> None:
        """Free what it holds."""

    @property
    def cached(self) -> int:
        """Bytes that it keeps."""
        ...


class Measurer:
    """Measures one job after the other; keeps the runner as long as they are of one layer."""

    def __init__(
        self,
        make_runner: Callable[[Any], Runner],
        images: EvalSet,
        order: Sequence[int],
        scorer: Scorer,
        clock: Clock,
    ):
        """
        Args:
            make_runner: makes a runner for the group of a variant.
            order: index of each image of the measuring order.
        """
        self._make_runner = make_runner
        self._images = images
        self._order = order
        self._scorer = scorer
        self._clock = clock
        self._runner: Runner | None = None
        self._loaded: tuple[str | None, float] | None = None

    @property
    def cached(self) -> int:
        """Bytes that are kept of the unpruned network."""
        return 0 if self._runner is None else self._runner.cached

    def measure(self, job: Job) -> Iterator[Counts]:
        """Yield the counts of the job's images.

        Raises:
            LoweringError: the runtime cannot run it.
            DataError: an image has changed.
        """
        runner = self._prepare(job)
        indices = self._order[job.start : job.stop]
        for index, output in zip(indices, runner.many(indices)):
            item = self._images[index]
            with self._clock.on("post-processing"):
                found = self._scorer.post_process(output, item.shape)
            with self._clock.on("matching"):
                counts = self._scorer.task.count(found, item.target)
            yield counts

    def close(self) -> None:
        """Free what the runner holds."""
        if self._runner is not None:
            self._runner.close()
        self._runner = self._loaded = None

    def _prepare(self, job: Job) -> Runner:
        if self._runner is None or self._loaded is None or self._loaded[0] != job.layer:
            self.close()
            self._runner = self._make_runner(job.variant)
        if self._loaded != (job.layer, job.ratio):
            self._loaded = None
            self._runner.load(job.variant)
            self._loaded = job.layer, job.ratio
        return self._runner
