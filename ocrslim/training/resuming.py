"""The start of a session: a fresh run, one that is continued, or one that another process has begun."""

from __future__ import annotations

import logging
from dataclasses import replace

from ocrslim.errors import TrainingError
from ocrslim.training.callbacks import Callback
from ocrslim.training.checkpointing.best_weights import BestWeights, find_best
from ocrslim.training.checkpointing.run import RANKS
from ocrslim.training.checkpointing.state_file import WEIGHTS_SUFFIX, TrainingState, check_shapes, not_a_state
from ocrslim.training.span import Span
from ocrslim.training.trainer import Trainer

logger = logging.getLogger(__name__)


def begin(trainer: Trainer, callback: Callback) -> int | None:
    """Continue the run that is in the folder, or prepare a fresh one; return the step to go on from, None for a fresh.

    Raises:
        TrainingError: the folder holds another run, or a finished one whose best weights are lost.
        ArtifactError: the folder cannot be written to.
    """
    folder, status = trainer.folder, trainer.status
    state, best = folder.run.find(), None
    if state is not None:
        best = resume(trainer, state)
    else:
        callback.on_fresh_start(status)
    folder.begin(state)
    if best is not None:
        folder.fetch_best(best, status.progress)
    if state is None:
        return None
    if status.progress.finished and not folder.run.owns(state):
        trainer.save()  # complete in this folder as well
    return status.progress.step


def resume(trainer: Trainer, state: TrainingState) -> BestWeights | None:
    """Continue from `state`, and log where; return its best weights, None if they are to be found by evaluation.

    Raises:
        TrainingError: the run is finished, and its best weights are lost.
    """
    best, status = find_best(state), trainer.status
    check_shapes(state, trainer.job.model)
    state = adapted_to_ranks(state, trainer.job.ranks.count, status.span)
    trainer.train_step.put_back(state)
    trainer.rollback.good = state.good
    status.progress = state.progress
    if state.progress.finished:
        logger.info("%s: this run is finished (%s): nothing to train", state.path, status.position)
    else:
        logger.info("%s: continues at %s", state.path, status.position)
    if best is not None and best.fault is None:
        return best
    if best is not None:
        _report_lost_best(trainer, state, best)
    status.progress.forget_best()
    return None


def follow_first_rank(trainer: Trainer) -> None:
    """Start every rank with the weights and the progress of rank 0, which calls this as well.

    Raises:
        NonFinite: its weights are not finite.
        RankLost: it has ended.
    """
    ranks, status = trainer.job.ranks, trainer.status
    if ranks.count == 1:
        return
    own = (trainer.train_step.take(status.progress), trainer.rollback.good) if ranks.first else None
    snapshot, good = ranks.share(own)
    if not ranks.first:
        trainer.train_step.put_back(snapshot)
        trainer.rollback.good = good
        status.progress = snapshot.progress


def _report_lost_best(trainer: Trainer, state: TrainingState, best: BestWeights) -> None:
    """Warn that the best weights are lost; raise `TrainingError` where no training is left."""
    status, run = trainer.status, trainer.folder.run
    found, metric = status.progress.best, status.metric
    score = f"{metric} {found.metrics[metric]:.4f} at step {found.step}" if found else ""
    if not status.progress.finished:
        logger.warning(
            "%s: %s: the best weights so far (%s) are lost; the best is searched again from %s on",
            *(best.path, best.fault, score, status.position),
        )
        return
    if run.owns(state):  # the message names the last weights: they may be missing as well
        trainer.folder.begin(state)
        trainer.checkpoints.publish(status)
    raise TrainingError(
        f"{best.path}: {best.fault}: the best weights of this finished run ({score}) are lost; the last ones "
        f"are in {state.path.with_suffix(WEIGHTS_SUFFIX)}: use those, or train again with "
        f"-o {'' if run.owns(state) else 'Global.checkpoints= '}Global.overwrite=true"
    )


def adapted_to_ranks(state: TrainingState, ranks: int, span: Span) -> TrainingState:
    """Return `state` as one of a training by `ranks` processes; warn where it was saved by another number.

    Args:
        span: of the run, by that many processes.

    Raises:
        TrainingError: it has another number of steps than a run of its fingerprint.
    """
    before, steps = state.fingerprint.get(RANKS, 1), state.progress.steps
    if steps % max(span.epochs, 1) or (before == ranks and steps != span.steps) or not isinstance(before, int):
        raise not_a_state(state.path, f"progress.steps is {steps}, expected {span.steps}, the steps of this run")
    if before == ranks:
        return state
    old, new = steps // max(span.epochs, 1), span.steps_per_epoch
    logger.warning(
        "%s: processes that train: %d until now, %d from here on: a step takes as many batches, an epoch has %d steps, "
        "not %d; learning rates are not scaled, and the weights will not be those of a run that was not stopped",
        *(state.path, before, ranks, new, old),
    )
    good = state.good and replace(state.good, progress=state.good.progress.rescaled(old, new))
    return replace(state, progress=state.progress.rescaled(old, new), good=good)
