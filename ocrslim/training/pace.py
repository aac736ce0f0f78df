"""How long a training takes, measured by a few steps of it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Generator
from dataclasses import dataclass
from statistics import median

from paddle import Tensor

from ocrslim.data import train_loader
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.train_step import TrainStep
from ocrslim.training.span import Span

_TIMED = 3  # after one that warms up


@dataclass(frozen=True)
class Pace:
    """Seconds of a step and of an evaluation, and steps of an epoch."""

    step: float
    evaluation: float
    steps_per_epoch: int

    def epochs_within(self, seconds: float, evaluations: int) -> int:
        """Return the epochs that a training with so many evaluations may have, at least 1."""
        steps = (seconds - evaluations * self.evaluation) / self.step
        return max(1, int(steps / self.steps_per_epoch))


def measure_pace(job: TrainingJob) -> Pace:
    """Train a few steps and evaluate once.

    Args:
        job: its model is changed.
    """
    steps = len(train_loader(job.config, job.training, 0))
    train_step, progress, taken = TrainStep(job, Span(steps, 1)), Progress(steps=steps), []
    job.model.train()
    with job.distillation or contextlib.nullcontext(), contextlib.closing(_batches(job)) as batches:
        for batch in itertools.islice(batches, 1 + _TIMED):
            start = time.monotonic()
            train_step.step(batch, progress)
            taken.append(time.monotonic() - start)
    start = time.monotonic()
    job.scoring()()
    return Pace(median(taken[1:]), time.monotonic() - start, steps)


def _batches(job: TrainingJob) -> Generator[list[Tensor], None, None]:
    """Yield the batches of one epoch after another, without an end."""
    for epoch in itertools.count():
        with contextlib.closing(iter(train_loader(job.config, job.training, epoch))) as batches:
            yield from batches
