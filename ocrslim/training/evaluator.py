"""Evaluations of a network in training: scores of the weights that are kept, and which of them are best."""

from __future__ import annotations

import contextlib
import math

from ocrslim.errors import TrainingError
from ocrslim.training.callbacks import TrainingStatus
from ocrslim.training.checkpointing.run_folder import RunFolder
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.history import Evaluation
from ocrslim.training.optimization.ema import WeightAverage
from ocrslim.training.stopping import StopRequests


class Evaluator:
    """Scores the model of a job, and keeps its best weights.

    Args:
        average: the averaged weights, which are scored and kept in place of the model's own; None without.
        stop: defers signals while weights are exchanged.
    """

    def __init__(self, job: TrainingJob, folder: RunFolder, average: WeightAverage | None, stop: StopRequests):
        self._model, self._first = job.model, job.ranks.first
        self._score = job.scoring()
        self._folder, self._average, self._stop = folder, average, stop

    def measure(self, status: TrainingStatus) -> Evaluation:
        """Score the model in eval mode.

        Raises:
            TrainingError: there is no finite score of the metric that decides.
        """
        with self._scored_weights():
            self._model.eval()
            metrics = {name: float(value) for name, value in self._score().items()}
        self._model.train()
        score = metrics.get(status.metric)
        if score is None or not math.isfinite(score):
            raise TrainingError(
                f"{status.position}: the evaluation gave {status.metric} {score}, expected a finite "
                "number: check Metric.main_indicator and the evaluation data"
            )
        progress = status.progress
        loss = progress.loss_sum / progress.loss_count if progress.loss_count else None
        return Evaluation(progress.step, status.epoch, metrics, loss)

    def record(self, found: Evaluation, status: TrainingStatus) -> None:
        """Add an evaluation to the history; the later one of two equal scores counts as better."""
        progress, best = status.progress, status.progress.best
        progress.history.append(found)
        if best is None or found.metrics[status.metric] >= best.metrics[status.metric]:
            progress.best = found
            if self._first:
                with self._scored_weights():
                    self._folder.save_best(self._model, progress)
        progress.evaluated = progress.step
        progress.loss_sum, progress.loss_count = 0.0, 0

    def _scored_weights(self) -> contextlib.AbstractContextManager[None]:
        """Give the model the weights that are evaluated and kept: the averaged ones where there is an average."""
        return contextlib.nullcontext() if self._average is None else self._average.applied(self._stop.held)
