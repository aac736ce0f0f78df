"""The course of a training run, kept for people: as a picture, and for VisualDL."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ocrslim.config import Config
from ocrslim.report import TrainingPicture, draw_training
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.monitoring.visualdl import EventLog, wants_event_log

CURVES = "training.png"
DRAW_SECONDS = 30.0  # between two drawings of the curves, which take a quarter of a second


class Recorder:
    """Writes `training.png`, and the log of events where there is one."""

    def __init__(self, folder: Path, metric: str, events: EventLog | None = None, draws: bool = True):
        """
        Args:
            folder: of the run.
            metric: the score that is drawn.
            events: closed.
            draws: whether there is a picture.
        """
        self._draws = draws
        self._path, self._metric, self._events = folder / CURVES, metric, events
        self._drawn_at = time.monotonic()

    def go_on(self, progress: Progress) -> None:
        """Go on from `progress`, which may be of an earlier step than what was recorded last.

        Raises:
            ArtifactError: the log cannot be written.
        """
        if self._events is not None:
            self._events.open(progress)

    def step(self, step: int, losses: Mapping[str, float], rate: float) -> None:
        """Record step `step` (from 1): its loss, the parts of it, and its learning rate."""
        if self._events is not None:
            self._events.step(step, losses, rate)

    def evaluation(self, progress: Progress) -> None:
        """Record the latest evaluation."""
        if self._events is not None:
            self._events.evaluation(progress.history[-1], progress.best)

    def draw_now_and_then(self, progress: Progress) -> None:
        """Draw if that was not done for a while."""
        if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self.draw(progress)

    def flush(self) -> None:
        """Return when everything recorded is in the log's file."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Close the log."""
        if self._events is not None:
            self._events.close()

    def draw(self, progress: Progress) -> None:
        """Write loss, learning rate and score of the run so far as a PNG.

        Raises:
            ArtifactError: the file cannot be written; the one before is intact.
        """
        if self._draws:
            draw_training(_picture(progress, self._metric), self._path)
        self._drawn_at = time.monotonic()


def build_recorder(config: Config, folder: Path, metric: str, first: bool) -> Recorder:
    """What `config` asks for; nothing is recorded but on the first of several processes (`first`).

    Raises:
        ArtifactError: something else than a file has the name of the log.
    """
    events = EventLog(folder, metric) if first and wants_event_log(config) else None
    if events is not None and not config.overwrite:
        events.check()
    return Recorder(folder, metric, events, draws=first)


def _picture(progress: Progress, metric: str) -> TrainingPicture:
    best = None if progress.best is None else (progress.best.step, progress.best.metrics[metric])
    scores = [(entry.step, entry.metrics[metric]) for entry in progress.history]
    return TrainingPicture(progress.curve.points, scores, metric, best, progress.steps, progress.rollbacks)
