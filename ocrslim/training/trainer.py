"""The loop of a training run: steps, evaluations, saves, and the way back where training diverges."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from paddle import Tensor

from ocrslim.config import PROGRAM
from ocrslim.data import names_labels, train_loader
from ocrslim.errors import TrainingError
from ocrslim.models import ImportedNetwork
from ocrslim.training.callbacks import Callback, Divergence, TrainingStatus
from ocrslim.training.checkpointing.checkpoints import Checkpoints
from ocrslim.training.checkpointing.run_folder import RunFolder
from ocrslim.training.checkpointing.snapshot import NonFinite
from ocrslim.training.evaluator import Evaluator
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.console import Display, log_line
from ocrslim.training.monitoring.curves import Curves
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.monitoring.visualdl import build_event_log
from ocrslim.training.optimization.amp import log_precision
from ocrslim.training.optimization.divergence import check_losses, divergence_error
from ocrslim.training.optimization.rollback import Rollback, exhausted
from ocrslim.training.optimization.train_step import TrainStep
from ocrslim.training.span import Span, build_span, epochs_of
from ocrslim.training.stopping import StopRequests

logger = logging.getLogger(__name__)


class Trainer:
    """Trains the model of a job.

    Where several processes train together, all of them hold the same weights, optimizer state and progress after every
    step, so that each takes by itself the same decisions as the others. Rank 0 alone evaluates, saves, draws and
    prints; what depends on its clock, on its evaluations or on a signal, it tells the others.

    Args:
        callback: called after the run's own callbacks, on rank 0.
    """

    def __init__(self, job: TrainingJob, folder: RunFolder, callback: Callback):
        self.job, self.folder = job, folder
        span = build_span(job.config, _steps_per_epoch(job))
        self.status = TrainingStatus(Progress(steps=span.steps), span, folder.run.metric)
        self.train_step = TrainStep(job, span)
        self.rollback = Rollback(self.train_step)
        self.checkpoints = Checkpoints(folder, self.train_step, self.rollback, writes=job.ranks.first)
        self._every = _evaluation_interval(job, span)
        self._stop = StopRequests(job.ranks)
        self._evaluator = Evaluator(job, folder, self.train_step.average, self._stop)
        self._callbacks = _own_callbacks(job, folder, self.checkpoints)
        self._callback = callback if job.ranks.first else Callback()

    def train(self) -> None:
        """Do the steps that are left; for a finished run, write the files that a kill after its last step prevented.

        Raises:
            TrainingError: training diverged, or an evaluation gave no score.
            KeyboardInterrupt: a signal came; the state is saved.
        """
        try:
            if self.status.progress.finished:
                self.checkpoints.publish(self.status)
                return
            _announce(self.job)
            self.train_step.start()
            with self.job.distillation or contextlib.nullcontext():
                self._train_to_the_end()
        finally:
            for callback in (*self._callbacks, self._callback):
                callback.on_end(self.status)

    def _train_to_the_end(self) -> None:
        try:
            with self._stop.agreed():
                self._notify(Callback.on_start)
                self.save()
                self._evaluate_if_due()
                self.rollback.keep(self.status.progress)
                while self.status.progress.step < self.status.span.steps:
                    self._train_or_roll_back()
        except KeyboardInterrupt:
            self._save_interrupted()
            raise
        except NonFinite as error:
            raise self._divergence_error(str(error)) from None

    def _train_or_roll_back(self) -> None:
        """Do what is left of an epoch, or go back where training diverges.

        Raises:
            TrainingError: it has gone back as often as it may.
        """
        try:
            self._train_epoch()
        except NonFinite as error:
            with self._stop.held():
                self._roll_back(str(error))

    def _train_epoch(self) -> None:
        """Do what is left of the current epoch."""
        job, steps = self.job, self.status.span.steps_per_epoch
        epoch, done = divmod(self.status.progress.step, steps)
        job.model.train()
        batches = iter(train_loader(job.config, job.training, epoch, skip_batches=done, part=job.ranks.part))
        with contextlib.closing(batches):  # its worker processes end with it, also where training goes back
            for batch in batches:
                self._step(batch)
        if self.status.progress.step != (epoch + 1) * steps:
            raise TrainingError(f"epoch {epoch + 1} ended at {self.status.position}: run the same command again")
        self.save()

    def _step(self, batch: list[Tensor]) -> None:
        """Do one optimizer step, and evaluate and save where that is due after it."""
        progress = self.status.progress
        with self._stop.held():
            with self._stop.atomic():
                self.train_step.step(batch, progress)
            self.status.losses, self.status.rate = self.train_step.losses, self.train_step.rate
            self._notify(Callback.on_step)
            due = self._stop.agree(self.checkpoints.due)
        check_losses(progress.recent)
        self._evaluate_if_due()
        self.rollback.keep(progress)
        if due:
            self.save()
            self._notify(Callback.on_interval)

    def _evaluate_if_due(self) -> None:
        """Evaluate before the first step, every so many steps, and after the last; keep the best weights."""
        if not self.status.progress.due(self._every):
            return
        self.save()  # an evaluation can take minutes: a kill then must not cost the steps before it
        first = self.job.ranks.first
        with self._stop.released():
            found = self.job.ranks.share(self._evaluator.measure(self.status) if first else None)
        with self._stop.held():
            with self._stop.atomic():
                self._evaluator.record(found, self.status)
            self._notify(Callback.on_evaluation, release=first)
            self.save()
        self._notify(Callback.on_interval)

    def _roll_back(self, fault: str) -> None:
        """Go back to the last good state and on from there with half the learning rate.

        Raises:
            TrainingError: it has gone back as often as it may; `latest.*` is the last good state.
        """
        error = self._divergence_error(fault)
        divergence = Divergence(self.status.position, fault, final=exhausted(self.status.progress))
        with self._stop.atomic():
            self.status.progress = self.rollback.go_back(self.status.progress)
        self.checkpoints.forget()
        self.save()
        self._notify(Callback.on_roll_back, divergence)
        self.job.ranks.exchange(None)  # no rank ends before the state is saved
        if divergence.final:
            raise error

    def save(self) -> None:
        """Write `latest.*`, unless it is up to date."""
        self._notify(Callback.on_save)

    def _save_interrupted(self) -> None:
        """Save unless a step, or an exchange of weights, was broken off."""
        average = self.train_step.average
        if self._stop.intact and (average is None or not average.exchanged):
            self.save()
            log_line(f"interrupted after {self.status.position}: saved; the same command continues there")

    def _notify(self, event: Callable[..., None], *details: object, release: bool = False) -> None:
        """Call the method `event` of all callbacks, with signals deferred.

        Args:
            release: answer signals at once in the caller's own callback, which may take long.
        """
        with self._stop.held():
            for callback in self._callbacks:
                getattr(callback, event.__name__)(self.status, *details)
            with self._stop.released() if release else contextlib.nullcontext():
                getattr(self._callback, event.__name__)(self.status, *details)

    def _divergence_error(self, fault: str) -> TrainingError:
        rollbacks = self.status.progress.rollbacks
        return divergence_error(self.job.config, self.folder.path, self.status.position, rollbacks, fault)


def _evaluation_interval(job: TrainingJob, span: Span) -> int | list[int] | None:
    """Return `Global.eval_batch_step`; where it is left out and nobody knows how long to learn, an epoch."""
    every: int | list[int] | None = job.config.get("Global.eval_batch_step")
    return every if names_labels(job.config, "Train") else every or span.steps_per_epoch


def _announce(job: TrainingJob) -> None:
    """Log what is particular about a training."""
    log_precision(job.config)
    if not epochs_of(job.config):
        return
    if not names_labels(job.config, "Train"):
        logger.info("Train: no labels are named: the network learns what the unpruned one makes of the images")
    if isinstance(job.model, ImportedNetwork):
        norms, convolutions = job.model.norms
        goes = (
            f"batch norms left, whose statistics stay: {norms}" if norms else "no batch norm is left: it trains without"
        )
        logger.info("%s: %d convolutions, %s", job.config.get(PROGRAM), convolutions, goes)


def _steps_per_epoch(job: TrainingJob) -> int:
    """Return the batches of an epoch; of a run without training, which may have no labels to learn from, 1."""
    if not epochs_of(job.config):
        return 1
    return len(train_loader(job.config, job.training, 0, part=job.ranks.part))


def _own_callbacks(job: TrainingJob, folder: RunFolder, checkpoints: Checkpoints) -> list[Callback]:
    """Return the callbacks of every run, in the order they are called.

    The event log is flushed before the state is saved, so that it is never behind it; curves are drawn last.

    Raises:
        ArtifactError: something else than a file has the name of the event log.
    """
    display = Display(int(job.config.get("Global.print_batch_step") or 1))
    if not job.ranks.first:
        return [display, checkpoints]
    metric = folder.run.metric
    return [display, *build_event_log(job.config, folder.path, metric), checkpoints, Curves(folder.path, metric)]
