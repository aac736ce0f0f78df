"""The curves of a training run as a picture: loss, learning rate and score."""

from __future__ import annotations

import time
from pathlib import Path

from ocrslim.report import TrainingPicture, draw_training
from ocrslim.training.callbacks import Callback, TrainingStatus
from ocrslim.training.monitoring.history import Progress

CURVES = "training.png"
DRAW_SECONDS = 30.0  # between two drawings of the curves, which take a quarter of a second


class Curves(Callback):
    """Draws `training.png`.

    Args:
        folder: of the run.
        metric: the score that is drawn.
    """

    def __init__(self, folder: Path, metric: str):
        self._path, self._metric = folder / CURVES, metric
        self._drawn_at = time.monotonic()

    def on_interval(self, status: TrainingStatus) -> None:
        """Draw if that was not done for a while."""
        if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self.draw(status.progress)

    def on_end(self, status: TrainingStatus) -> None:
        """Draw the whole run if it is finished."""
        if status.progress.finished:
            self.draw(status.progress)

    def draw(self, progress: Progress) -> None:
        """Write loss, learning rate and score of the run so far as a PNG.

        Raises:
            ArtifactError: the file cannot be written; the one before is intact.
        """
        draw_training(_picture(progress, self._metric), self._path)
        self._drawn_at = time.monotonic()


def _picture(progress: Progress, metric: str) -> TrainingPicture:
    best = None if progress.best is None else (progress.best.step, progress.best.metrics[metric])
    scores = [(entry.step, entry.metrics[metric]) for entry in progress.history]
    return TrainingPicture(progress.curve.points, scores, metric, best, progress.steps, progress.rollbacks)
