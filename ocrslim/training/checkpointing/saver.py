"""What a training run saves, and when: on rank 0 alone, while the others check what they would save."""

from __future__ import annotations

import time

from ocrslim.models import state_arrays
from ocrslim.training.checkpointing.run import Run
from ocrslim.training.checkpointing.snapshot import check_finite
from ocrslim.training.checkpointing.state_file import LATEST, WEIGHTS_SUFFIX, save_state, save_summary, save_weights
from ocrslim.training.divergence import Rollback
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.train_step import Stepper
from ocrslim.utils import Interrupts

SAVE_SECONDS = 60.0


class Saver:
    """Writes `latest.*` and `iter_epoch_N.*`.

    Args:
        interrupts: put off while files are written.
        writes: False on the ranks after the first: they raise what the first one raises, and write nothing.
    """

    def __init__(self, run: Run, stepper: Stepper, rollback: Rollback, interrupts: Interrupts, writes: bool = True):
        self._run, self._stepper, self._rollback, self._interrupts = run, stepper, rollback, interrupts
        self.writes = writes
        self._clock = self._saved_at = time.monotonic()
        self._saved: tuple[int, int, int] | None = None

    @property
    def due(self) -> bool:
        """Whether as much time has gone by as may be lost."""
        return time.monotonic() - self._saved_at >= SAVE_SECONDS

    def save(self, progress: Progress, steps_per_epoch: int) -> None:
        """Write `latest.*`, unless it is up to date; the state that a run resumes from first.

        Raises:
            NonFinite: a weight or an optimizer value is NaN or infinite; nothing is written.
            ArtifactError: a file cannot be written; those before are intact.
        """
        content = progress.step, progress.evaluated, progress.rollbacks
        if content == self._saved:
            return
        now = time.monotonic()
        progress.seconds += now - self._clock
        self._clock = self._saved_at = now
        with self._interrupts.held():
            snapshot = self._stepper.take(progress)
            if self.writes:
                save_state(self._run.folder, snapshot, self._rollback.good, self._run.fingerprint)
                self.publish(progress, steps_per_epoch)
        self._saved = content

    def forget(self) -> None:
        """What was saved is not what there is now, whatever the step."""
        self._saved = None

    def publish(self, progress: Progress, steps_per_epoch: int) -> None:
        """Write what people and other commands read of the state."""
        save_weights(self._run.folder / f"{LATEST}{WEIGHTS_SUFFIX}", self._stepper.model)
        save_summary(self._run.folder, progress, self._run.fingerprint, steps_per_epoch)

    def keep_epoch(self, progress: Progress, steps_per_epoch: int) -> None:
        """Write `iter_epoch_N.*` at the end of every `Global.save_epoch_step`-th epoch, as PaddleOCR does.

        Raises:
            NonFinite, ArtifactError: as `save`.
        """
        epoch, step = divmod(progress.step, steps_per_epoch)
        every = self._run.config.get("Global.save_epoch_step")
        if step or not every or epoch % int(every):
            return
        if self.writes:
            self._run.save_epoch(self._stepper.model, epoch)
        else:
            check_finite(state_arrays(self._stepper.model))
