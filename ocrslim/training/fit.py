"""Fine-tuning a pruned network, or training one without a plan.

Interrupted at any moment, the same command continues; a run that was stopped and resumed ends with the
weights of one that was not, because batches, learning rates and the optimizer's state depend on the
position in the run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet
from ocrslim.errors import TrainingError
from ocrslim.evaluation import Scorer
from ocrslim.inference import AutoEngine
from ocrslim.models import load_weights, state_arrays
from ocrslim.pruning import Plan
from ocrslim.training.checkpointing.run import Run
from ocrslim.training.checkpointing.state_file import BEST, WEIGHTS_SUFFIX, first_difference
from ocrslim.training.distillation import Distillation
from ocrslim.training.monitoring.history import Evaluation
from ocrslim.training.trainer import Trainer
from ocrslim.utils import Ranks


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
    ranks: Ranks | None = None,
) -> FitResult:
    """Train `model`, continuing the run that `Global.save_model_dir` holds if it is the same.

    Several processes that call this train it together, from the weights that rank 0 has.

    Args:
        model: with its starting weights, pruned if there is a plan. On return it has the best weights
            and is in eval mode.
        labelled: the training images.
        evaluate: scores `model` as it is at the time of the call.
        plan: what the model was pruned by; saved beside every checkpoint.
        origin: hashes of starting weights and data. A folder with a run of other hashes is refused.
        prepare: called before the first step of a fresh run, on rank 0, such as to recover what pruning cost.
        distillation: what `model` learns from beside the labels; name it in `origin`, as the run depends on it.
        ranks: the processes that train together; None for one alone.

    Raises:
        TrainingError: the folder holds another run, or a finished one whose best weights are lost;
            or the training diverged.
        ArtifactError: the folder cannot be written to.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the state was saved.
    """
    ranks = ranks or Ranks()
    run = Run(config, plan, dict(origin or {}), ranks.count)
    _check_alike(ranks.exchange(run.fingerprint))
    trainer = Trainer(model, run, labelled, evaluate, distillation, ranks)
    continued_at = ranks.share(_begin(trainer, prepare) if ranks.first else None)
    trainer.follow()
    trainer.train()
    return _result(trainer, continued_at if continued_at >= 0 else None)


def _check_alike(fingerprints: Sequence[Mapping[str, Any]]) -> None:
    """Refuse ranks that would train something else than rank 0."""
    for rank, fingerprint in enumerate(fingerprints):
        difference = first_difference(fingerprint, fingerprints[0])
        if difference:
            raise TrainingError(
                f"rank {rank} would train something else than rank 0: {difference}: expected the same "
                "configuration, weights and images for all ranks"
            )


def _begin(trainer: Trainer, prepare: Callable[[], None] | None) -> int:
    """Take over the run that is there, or prepare a fresh one; return the step to go on from, -1 for a fresh one."""
    run = trainer.run
    state, best = run.find(), None
    if state is not None:
        best = trainer.take_over(state)
    elif prepare is not None:
        prepare()
    run.begin(state)
    if best is not None:
        run.fetch_best(best, trainer.progress)
    return -1 if state is None else trainer.progress.step


def _result(trainer: Trainer, continued_at: int | None) -> FitResult:
    """Put the best weights into the model and sum up."""
    weights = trainer.run.folder / f"{BEST}{WEIGHTS_SUFFIX}"
    if trainer.ranks.first:
        load_weights(trainer.model, weights)
    arrays = trainer.ranks.share(state_arrays(trainer.model) if trainer.ranks.first else None)
    if not trainer.ranks.first:
        trainer.model.set_state_dict(arrays)
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


def fit_network(
    config: Config,
    model: paddle.nn.Layer,
    data: tuple[LabelledSet, LabelledSet],
    plan: Plan | None,
    origin: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
    distillation: Distillation | None = None,
    judge: Callable[[Mapping[str, float]], None] | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Train `model` and say what that brought.

    Args:
        data: the images to train on and those to score on.
        judge: is given the scores of each evaluation.

    The others are those of `fit`.
    """
    training, evaluation = data
    images, scorer, engines = EvalSet(evaluation, config), Scorer(config), AutoEngine(model, config.task)
    origin = {**origin, "training data": training.fingerprint(), "evaluation data": evaluation.fingerprint()}

    def score() -> dict[str, float]:
        with engines.engine(images) as engine:
            found = scorer(engine, images)
        if judge is not None:
            judge(found)
        return found

    result = fit(model, config, training, score, plan, origin, prepare, distillation, ranks)
    start, best, last = (entry.metrics[result.metric] for entry in (result.start, result.best, result.last))
    if result.best.step:
        print(f"{result.metric} {start:.4f} before training, {best:.4f} at step {result.best.step}: {result.weights}")
    else:
        print(
            f"training brought nothing: {result.metric} {start:.4f} before, {last:.4f} after the last step; "
            f"{result.weights} has the weights from before: try a lower learning rate, or more images and epochs"
        )
    return {"checkpoint": str(result.weights), **result.to_json()}
