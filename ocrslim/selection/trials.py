"""Short trainings that candidate plans are compared by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.errors import ArtifactError
from ocrslim.pruning import Network, PrunableNetwork, load_base_network
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import Choice
from ocrslim.selection.competition import Trials
from ocrslim.selection.jobs import RefitAtStart, candidate_job
from ocrslim.training import Pace, TrainingJob, epochs_of, fit, measure_pace
from ocrslim.utils import Field, check_writable, read_json, write_json

logger = logging.getLogger(__name__)

_SHARE, _MOST = 0.2, 16  # of the epochs of the training, where Prune.trial_minutes is left open
_TOGETHER = 8  # evaluations of all trials, about
_NEVER = 10**9  # steps
_PACE = "pace.json"


def trials_of(
    config: Config,
    current: Config,
    data: tuple[LabelledSet, LabelledSet],
    networks: tuple[Network, PrunableNetwork],
    scores: CandidateScores,
) -> Trials[Choice] | None:
    """Return the trainings that candidates are compared by; None where nothing is trained, or they are not wanted.

    Args:
        config: of the whole training.
        current: of the network that plans prune.
        networks: the one before any pruning, and the one that plans prune.
    """
    minutes, epochs = config.prune.trial_minutes, epochs_of(config)
    if not epochs or minutes == 0:
        return None
    teacher, network = networks

    def job_of(choice: Choice, changed: Config) -> TrainingJob:
        return candidate_job(changed, data, (teacher, load_base_network(current)), choice)

    def trained(choice: Choice, epochs: int) -> float:
        def train(folder: Path) -> float:
            job = job_of(choice, _shortened(config, epochs, folder))
            result = fit(job, RefitAtStart(job, scores, choice.by_reconstruction))
            return result.best.metrics[result.metric]

        return scores.trained(choice.plan.after(network.plan), epochs, train)

    def within(choice: Choice) -> int:
        if minutes is None:
            return min(int(_SHARE * epochs), _MOST)
        return _epochs_within(minutes, scores.trainings / _PACE, lambda: measure_pace(job_of(choice, config)))

    return Trials(within, trained)


def _epochs_within(minutes: float, file: Path, measured: Callable[[], Pace]) -> int:
    """Return the epochs that fit into some minutes; they are kept, so that a run that goes on has the same trials."""
    try:
        known = read_json(file, "ocrslim prune")
        if known.get("minutes") == minutes:
            return Field(known)["epochs"].whole(0)
    except (ArtifactError, ValueError):
        pass
    pace = measured()
    epochs = pace.epochs_within(60 * minutes, _TOGETHER)
    logger.info(
        "trials: %.1f s a step: %d epochs of %d steps in %g minutes", pace.step, epochs, pace.steps_per_epoch, minutes
    )
    check_writable(file.parent)
    write_json(file, {"minutes": minutes, "epochs": epochs})
    return epochs


def _shortened(config: Config, epochs: int, folder: Path) -> Config:
    """Return the configuration of a training with the same course in fewer epochs, evaluated at its end."""
    changes = {"Global.epoch_num": epochs, "Global.eval_batch_step": _NEVER, "Global.save_model_dir": str(folder)}
    warmup = config.get("Optimizer.lr.warmup_epoch")
    if warmup:
        changes["Optimizer.lr.warmup_epoch"] = warmup * epochs / epochs_of(config)
    return config.changed(changes)
