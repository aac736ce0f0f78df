"""Fine-tuning a pruned network, or training one without a plan.

Interrupted at any moment, the same command continues; a run that was stopped and resumed ends with the
weights of one that was not, because batches, learning rates and the optimizer's state depend on the
position in the run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle import nn

from ocrslim.checkpoints import BEST, WEIGHTS_SUFFIX
from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.distill import Distillation
from ocrslim.history import Evaluation
from ocrslim.pruning.plan import Plan
from ocrslim.runfolder import Run
from ocrslim.trainer import Trainer
from ocrslim.weights import load_weights


@dataclass(frozen=True)
class FitResult:
    """What a training run came to.

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

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "start": self.start.to_json(),
            "best": self.best.to_json(),
            "last": self.last.to_json(),
            "history": [entry.to_json() for entry in self.history],
            "train_seconds": round(self.seconds, 1),
            "continued_at": self.continued_at,
        }


def fit(
    model: nn.Layer,
    config: Config,
    labelled: LabelledSet,
    evaluate: Callable[[], dict[str, float]],
    plan: Plan | None = None,
    origin: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
    distillation: Distillation | None = None,
) -> FitResult:
    """Train `model`, continuing the run that `Global.save_model_dir` holds if it is the same.

    Args:
        model: with its starting weights, pruned if there is a plan. On return it has the best weights
            and is in eval mode.
        labelled: the training images.
        evaluate: scores `model` as it is at the time of the call.
        plan: what the model was pruned by; saved beside every checkpoint.
        origin: hashes of starting weights and data. A folder with a run of other hashes is refused.
        prepare: called before the first step of a fresh run, such as to recover what pruning cost.
        distillation: what `model` learns from beside the labels; name it in `origin`, as the run depends on it.

    Raises:
        TrainingError: the folder holds another run, or a finished one whose best weights are lost;
            or the training diverged.
        ArtifactError: the folder cannot be written to.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the state was saved.
    """
    run = Run(config, plan, dict(origin or {}))
    state = run.find()
    trainer = Trainer(model, run, labelled, evaluate, distillation)
    best = continued_at = None
    if state is not None:
        best = trainer.take_over(state)
        continued_at = trainer.progress.step
    elif prepare is not None:
        prepare()
    run.begin(state)
    if best is not None:
        run.fetch_best(best, trainer.progress)
    trainer.train()
    return _result(trainer, continued_at)


def _result(trainer: Trainer, continued_at: int | None) -> FitResult:
    """Put the best weights into the model and sum up."""
    weights = trainer.run.folder / f"{BEST}{WEIGHTS_SUFFIX}"
    load_weights(trainer.model, weights)
    trainer.model.eval()
    history = tuple(trainer.progress.history)
    best = trainer.progress.best or history[-1]
    return FitResult(
        metric=trainer.run.metric,
        start=history[0],
        best=best,
        last=history[-1],
        history=history,
        weights=weights,
        seconds=trainer.progress.seconds,
        continued_at=continued_at,
    )
