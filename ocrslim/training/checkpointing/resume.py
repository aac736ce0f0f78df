"""What is special about states that a run takes over: other numbers of processes, best weights that are lost."""

from __future__ import annotations

import logging
from dataclasses import replace

from ocrslim.errors import TrainingError
from ocrslim.training.checkpointing.run import RANKS, BestWeights, Run
from ocrslim.training.checkpointing.state_file import WEIGHTS_SUFFIX, TrainingState, not_a_state

logger = logging.getLogger(__name__)


def shared_out(state: TrainingState, ranks: int, steps: int, steps_per_epoch: int) -> TrainingState:
    """`state` as one of a training by `ranks` processes; a warning says so where it was saved by another number.

    Args:
        steps: of the whole run, by that many processes.
        steps_per_epoch: the same of an epoch.

    Raises:
        TrainingError: it has another number of steps than a run of its fingerprint.
    """
    epochs = steps // steps_per_epoch
    before, there = state.fingerprint.get(RANKS, 1), state.progress.steps
    if there % epochs or (before == ranks and there != steps) or not isinstance(before, int):
        raise not_a_state(state.path, f"progress.steps is {there}, expected {steps}, the steps of this run")
    if before == ranks:
        return state
    old = there // epochs
    logger.warning(
        "%s: processes that train: %d until now, %d from here on: a step takes as many batches, an epoch has %d steps, "
        "not %d; learning rates are not scaled, and the weights will not be those of a run that was not stopped",
        *(state.path, before, ranks, steps_per_epoch, old),
    )
    good = state.good and replace(state.good, progress=state.good.progress.counted_anew(old, steps_per_epoch))
    return replace(state, progress=state.progress.counted_anew(old, steps_per_epoch), good=good)


def lost_best(run: Run, state: TrainingState, best: BestWeights, score: str) -> TrainingError:
    """The error of a finished run without its best weights."""
    own = run.owns(state)
    return TrainingError(
        f"{best.path}: {best.fault}: the best weights of this finished run ({score}) are lost; the last ones "
        f"are in {state.path.with_suffix(WEIGHTS_SUFFIX)}: use those, or train again with "
        f"-o {'' if own else 'Global.checkpoints= '}Global.overwrite=true"
    )
