"""The progress of a training run on standard error."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

from ocrslim.training.callbacks import Callback, Divergence, TrainingStatus
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.rollback import MAX_ROLLBACKS
from ocrslim.utils import LOG_SECONDS

logger = logging.getLogger(__name__)

_LONGEST_SILENCE = 60.0  # seconds


class Display(Callback):
    """Progress on standard error: a bar on a terminal, a line now and then elsewhere.

    Args:
        print_every: steps between two of these lines, at least; fewer where they take more than a minute, as those of
            a recogniser on a CPU do.
    """

    def __init__(self, print_every: int):
        self._print_every = print_every
        self._bar: tqdm | None = None
        self._begun = self._printed = time.monotonic()
        self._first = 0

    def on_start(self, status: TrainingStatus) -> None:
        """Show the bar."""
        self._count_from(status.progress)
        # disable=None: no bar where standard error is not a terminal
        self._bar = tqdm(
            total=status.span.steps,
            initial=status.progress.step,
            desc="training",
            unit="step",
            dynamic_ncols=True,
            disable=None,
        )

    def on_end(self, status: TrainingStatus) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_step(self, status: TrainingStatus) -> None:
        """Move the bar; without one, log a line if the last is some seconds old."""
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix_str(_summary(status), refresh=False)
            self._bar.update()
            return
        now, progress = time.monotonic(), status.progress
        silent = now - self._printed
        if silent >= _LONGEST_SILENCE or (silent >= LOG_SECONDS and progress.step % self._print_every == 0):
            self._printed = now
            left = (now - self._begun) / (progress.step - self._first) * (progress.steps - progress.step)
            logger.info("%s: %s, %s left", status.position, _summary(status), tqdm.format_interval(left))

    def on_evaluation(self, status: TrainingStatus) -> None:
        """Log the score, and the best so far."""
        found, metric = status.evaluation, status.metric
        best = status.progress.best or found
        if not status.span.epochs:
            log_line(f"{metric} {found.metrics[metric]:.4f} without training (Global.epoch_num is 0)")
            return
        log_line(
            f"{status.position}: {metric} {found.metrics[metric]:.4f}"
            f" (best {best.metrics[metric]:.4f} at step {best.step})"
            + (", before training" if found.step == 0 else "")
            + (f", loss {found.loss:.4f}" if found.loss is not None else "")
        )

    def on_roll_back(self, status: TrainingStatus, divergence: Divergence) -> None:
        """Move the bar back and log a warning."""
        progress = status.progress
        self._count_from(progress)
        if self._bar is not None:
            self._bar.n = progress.step
            self._bar.refresh()
        if not divergence.final:
            log_line(
                f"training diverged after {divergence.position}: {divergence.fault}; back to {status.position}, and on "
                f"with the learning rate halved ({progress.rollbacks} of at most {MAX_ROLLBACKS} times)",
                logging.WARNING,
            )

    def _count_from(self, progress: Progress) -> None:
        """Estimate the time left by the steps from here on."""
        self._begun, self._first = time.monotonic(), progress.step


def log_line(text: str, level: int = logging.INFO) -> None:
    """Log one line without tearing the bar."""
    with tqdm.external_write_mode():
        logger.log(level, text)


def _summary(status: TrainingStatus) -> str:
    """Describe the last step: its loss, the mean over the ranks, its learning rate, and the best score so far."""
    best, metric = status.progress.best, status.metric
    score = f", best {metric} {best.metrics[metric]:.4f}" if best else ""
    return f"loss {status.progress.recent[-1]:.4f}, lr {status.rate:.2e}{score}"
