"""Checkpoints of a training run, written on rank 0 alone, while the other ranks check what they would write."""

from __future__ import annotations

import time

from ocrslim.models import state_arrays
from ocrslim.training.callbacks import Callback, TrainingStatus
from ocrslim.training.checkpointing.run_folder import RunFolder
from ocrslim.training.checkpointing.snapshot import check_finite
from ocrslim.training.checkpointing.state_file import LATEST, WEIGHTS_SUFFIX, save_state, save_summary, save_weights
from ocrslim.training.optimization.rollback import Rollback
from ocrslim.training.optimization.train_step import TrainStep

SAVE_SECONDS = 60.0


class Checkpoints(Callback):
    """Writes `latest.*` and `iter_epoch_N.*`.

    Args:
        writes: False on the ranks after the first: they raise what the first one raises, and write nothing.
    """

    def __init__(self, folder: RunFolder, train_step: TrainStep, rollback: Rollback, writes: bool = True):
        self._folder, self._train_step, self._rollback, self._writes = folder, train_step, rollback, writes
        self._clock = self._saved_at = time.monotonic()
        self._saved: tuple[int, int, int] | None = None

    @property
    def due(self) -> bool:
        """The checkpoint interval has elapsed."""
        return time.monotonic() - self._saved_at >= SAVE_SECONDS

    def on_save(self, status: TrainingStatus) -> None:
        """Write `latest.*`, unless it is up to date; the state that a run resumes from first.

        Raises:
            NonFinite: a weight or an optimizer value is NaN or infinite; nothing is written.
            ArtifactError: a file cannot be written; those before are intact.
        """
        progress = status.progress
        content = progress.step, progress.evaluated, progress.rollbacks
        if content == self._saved:
            return
        now = time.monotonic()
        progress.seconds += now - self._clock
        self._clock = self._saved_at = now
        snapshot = self._train_step.take(progress)
        if self._writes:
            save_state(self._folder.path, snapshot, self._rollback.good, self._folder.run.fingerprint)
            self.publish(status)
        self._saved = content

    def forget(self) -> None:
        """Have the next save write everything, whatever the step."""
        self._saved = None

    def publish(self, status: TrainingStatus) -> None:
        """Write what people and other commands read of the state."""
        if not self._writes:
            return
        folder, steps_per_epoch = self._folder, status.span.steps_per_epoch
        save_weights(folder.path / f"{LATEST}{WEIGHTS_SUFFIX}", self._train_step.model)
        save_summary(folder.path, status.progress, folder.run.fingerprint, steps_per_epoch)

    def on_step(self, status: TrainingStatus) -> None:
        """Write `iter_epoch_N.*` at the end of every `Global.save_epoch_step`-th epoch, as PaddleOCR does.

        Raises:
            NonFinite, ArtifactError: as `on_save`.
        """
        epoch, step = divmod(status.progress.step, status.span.steps_per_epoch)
        every = self._folder.run.config.get("Global.save_epoch_step")
        if step or not every or epoch % int(every):
            return
        if self._writes:
            self._folder.save_epoch(self._train_step.model, epoch)
        else:
            check_finite(state_arrays(self._train_step.model))
