"""Going back to the last good step where training has diverged, with half the learning rate, a few times at most."""

from __future__ import annotations

import copy
from pathlib import Path

from ocrslim.checkpoints import BEST, LATEST, WEIGHTS_SUFFIX
from ocrslim.config import Config
from ocrslim.divergence import calm
from ocrslim.errors import TrainingError
from ocrslim.history import Progress
from ocrslim.snapshots import Snapshot
from ocrslim.stepper import Stepper

MAX_ROLLBACKS = 3
GOOD_STEPS = 100  # from one state that is gone back to, to the next


class Rollback:
    """Keeps the last good state; `good` is None before the first."""

    def __init__(self, stepper: Stepper):
        self.good: Snapshot | None = None
        self._stepper = stepper

    def keep(self, progress: Progress) -> None:
        """Keep every so many steps what a divergence goes back to.

        By the step alone, not by the clock: a run that was stopped and resumed goes back to the same state.

        Raises:
            NonFinite: it is not good.
        """
        good, step = self.good, progress.step
        if good is None or (step > good.progress.step and step % GOOD_STEPS == 0 and calm(progress.recent)):
            self.good = self._stepper.take(progress)

    def go_back(self, now: Progress) -> Progress:
        """Put the last good state back, and return the progress to go on with: the rate halved unless `exhausted`.

        What is `now` the best evaluation remains it, as its weights lie on the disk.
        """
        assert self.good is not None
        self._stepper.put_back(self.good)
        back = copy.deepcopy(self.good.progress)
        back.best, back.best_weights, back.seconds = now.best, now.best_weights, now.seconds
        back.rollbacks = min(now.rollbacks + 1, MAX_ROLLBACKS)
        return back


def exhausted(progress: Progress) -> bool:
    """Whether training has gone back as often as it may."""
    return progress.rollbacks >= MAX_ROLLBACKS


def divergence_error(config: Config, folder: Path, where: str, rollbacks: int, what: str) -> TrainingError:
    """The error that says what happened, where the last good weights are, and what to try."""
    rate = config.section("Optimizer").get("lr") or {}
    key = "values" if rate.get("name") == "Piecewise" else "learning_rate"
    again = f", although the learning rate was halved {rollbacks} times" if rollbacks else ""
    return TrainingError(
        f"training diverged after {where}{again}: {what}; the last good weights are "
        f"{folder / (LATEST + WEIGHTS_SUFFIX)} and {BEST}{WEIGHTS_SUFFIX}; start over with "
        f"a lower -o Optimizer.lr.{key}= (now {rate.get(key)}) and -o Global.overwrite=true; if that "
        "is not enough, limit the gradients as well, with -o Optimizer.clip_norm_global=5"
    )
