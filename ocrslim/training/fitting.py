"""Fine-tuning a pruned network, or training one without a plan.

Interrupted at any moment, the same call continues; a run that was stopped and resumed ends with the
weights of one that was not, because batches, learning rates and the optimizer's state depend on the
position in the run alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.errors import TrainingError
from ocrslim.models import load_weights, state_arrays
from ocrslim.training.callbacks import Callback
from ocrslim.training.checkpointing.run import Run
from ocrslim.training.checkpointing.run_folder import RunFolder
from ocrslim.training.checkpointing.state_file import first_difference
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.history import Evaluation
from ocrslim.training.resuming import begin, follow_first_rank
from ocrslim.training.trainer import Trainer


@dataclass(frozen=True)
class FitResult:
    """Result of a training run.

    Attributes:
        metric: the one that decides which weights are best.
        start: evaluation before the first step: a pruned network as pruned.
        best: evaluation of `weights`; never below `start`, unless the best weights were lost on the way.
        last: evaluation after the last step.
        history: all evaluations, `start` and `last` among them.
        weights: `best_accuracy.pdparams`.
        seconds: time spent, over all sessions.
        continued_at: step at which this session took over; None for a run of one session.
    """

    metric: str
    start: Evaluation
    best: Evaluation
    last: Evaluation
    history: tuple[Evaluation, ...]
    weights: Path
    seconds: float
    continued_at: int | None = None

    def summary(self) -> str:
        """Describe in a line what training brought."""
        start, best, last = (entry.metrics[self.metric] for entry in (self.start, self.best, self.last))
        if not self.last.step:
            return f"{self.metric} {start:.4f}, not trained (Global.epoch_num is 0): {self.weights}"
        if self.best.step:
            return f"{self.metric} {start:.4f} before training, {best:.4f} at step {self.best.step}: {self.weights}"
        return (
            f"training did not improve {self.metric} ({start:.4f} before, {last:.4f} after the last step): "
            f"{self.weights} has the weights from before; try a lower learning rate, or more images and epochs"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "checkpoint": str(self.weights),
            "metric": self.metric,
            "start": self.start.to_json(),
            "best": self.best.to_json(),
            "last": self.last.to_json(),
            "history": [entry.to_json() for entry in self.history],
            "train_seconds": round(self.seconds, 1),
            "continued_at": self.continued_at,
        }


def fit(job: TrainingJob, callback: Callback | None = None) -> FitResult:
    """Train the model of `job`, continuing the run that `Global.save_model_dir` holds if it is the same.

    On return the model has the best weights and is in eval mode. Several processes that call this train together,
    from the weights that rank 0 has.

    Args:
        callback: told of the run's events, on rank 0.

    Raises:
        TrainingError: the folder holds another run, or a finished one whose best weights are lost;
            or the training diverged.
        ArtifactError: the folder cannot be written to.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the state was saved.
    """
    ranks, callback = job.ranks, callback or Callback()
    run = Run(job.config, job.plan, job.full_origin(), ranks.count)
    _check_alike(ranks.exchange(run.fingerprint))
    trainer = Trainer(job, RunFolder(run), callback)
    [continued_at] = ranks.share([begin(trainer, callback)] if ranks.first else None)
    follow_first_rank(trainer)
    trainer.train()
    _load_best(job, trainer.folder)
    return _result(trainer, continued_at)


def _check_alike(fingerprints: Sequence[Mapping[str, Any]]) -> None:
    """Refuse ranks that would train something else than rank 0."""
    for rank, fingerprint in enumerate(fingerprints):
        difference = first_difference(fingerprint, fingerprints[0])
        if difference:
            raise TrainingError(
                f"rank {rank} would train something else than rank 0: {difference}: expected the same "
                "configuration, weights and images for all ranks"
            )


def _load_best(job: TrainingJob, folder: RunFolder) -> None:
    """Put the best weights into the model, on all ranks."""
    if job.ranks.first:
        load_weights(job.model, folder.best)
    arrays = job.ranks.share(state_arrays(job.model) if job.ranks.first else None)
    if not job.ranks.first:
        job.model.set_state_dict(arrays)
    job.model.eval()


def _result(trainer: Trainer, continued_at: int | None) -> FitResult:
    progress = trainer.status.progress
    history = tuple(progress.history)
    return FitResult(
        metric=trainer.status.metric,
        start=history[0],
        best=progress.best or history[-1],
        last=history[-1],
        history=history,
        weights=trainer.folder.best,
        seconds=progress.seconds,
        continued_at=continued_at,
    )
