"""The way back from a divergence: to the last good step, with half the learning rate, a few times at most."""

from __future__ import annotations

import copy

from ocrslim.training.checkpointing.snapshot import Snapshot
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.divergence import is_stable
from ocrslim.training.optimization.train_step import TrainStep

MAX_ROLLBACKS = 3
GOOD_STEPS = 100  # between two states that can be gone back to


class Rollback:
    """Keeper of the last good state.

    Attributes:
        good: that state; None before the first.
    """

    def __init__(self, train_step: TrainStep):
        self.good: Snapshot | None = None
        self._train_step = train_step

    def keep(self, progress: Progress) -> None:
        """Keep the state every `GOOD_STEPS` steps, if training is stable.

        By the step alone, not by the clock: a run that was stopped and resumed goes back to the same state.

        Raises:
            NonFinite: a value of the state is NaN or infinite.
        """
        good, step = self.good, progress.step
        if good is None or (step > good.progress.step and step % GOOD_STEPS == 0 and is_stable(progress.recent)):
            self.good = self._train_step.take(progress)

    def go_back(self, now: Progress) -> Progress:
        """Put the last good state back; return the progress to go on with, the rate halved unless `exhausted`.

        The best evaluation of `now` remains the best, as its weights are on the disk.
        """
        assert self.good is not None
        self._train_step.put_back(self.good)
        back = copy.deepcopy(self.good.progress)
        back.best, back.best_weights, back.seconds = now.best, now.best_weights, now.seconds
        back.rollbacks = min(now.rollbacks + 1, MAX_ROLLBACKS)
        return back


def exhausted(progress: Progress) -> bool:
    """Tell whether training has gone back as often as it may."""
    return progress.rollbacks >= MAX_ROLLBACKS
