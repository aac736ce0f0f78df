"""The progress of a training run on standard error."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

from ocrslim.training.monitoring.history import Progress

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0


class Display:
    """Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress, print_every: int):
        self.progress = progress
        self._print_every = print_every
        self._bar: tqdm | None = None
        self._begun = self._printed = time.monotonic()
        self._first = 0

    def __enter__(self) -> Display:
        progress = self.progress
        self._begun, self._first = time.monotonic(), progress.step
        # disable=None: no bar where standard error is not a terminal
        self._bar = tqdm(
            total=progress.steps,
            initial=progress.step,
            desc="training",
            unit="step",
            dynamic_ncols=True,
            disable=None,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, position: str, loss: float, lr: float, metric: str) -> None:
        """Show one step."""
        best = self.progress.best
        status = f"loss {loss:.4f}, lr {lr:.2e}" + (f", best {metric} {best.metrics[metric]:.4f}" if best else "")
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix_str(status, refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if self.progress.step % self._print_every == 0 and now - self._printed >= LOG_SECONDS:
            self._printed = now
            left = (now - self._begun) / (self.progress.step - self._first) * (self.progress.steps - self.progress.step)
            logger.info("%s: %s, %s left", position, status, tqdm.format_interval(left))

    def go_back(self, progress: Progress) -> None:
        """Show `progress`, which is of an earlier step, from now on."""
        self.progress = progress
        self._begun, self._first = time.monotonic(), progress.step
        if self._bar is not None:
            self._bar.n = progress.step
            self._bar.refresh()

    def warn(self, text: str) -> None:
        """Log a warning without tearing the bar."""
        with tqdm.external_write_mode():
            logger.warning(text)

    def say(self, text: str) -> None:
        """Log one line without tearing the bar."""
        with tqdm.external_write_mode():
            logger.info(text)
