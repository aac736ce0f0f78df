"""The training of a pruned network: what it is made of, and how it starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.pruning import Network, Plan, PrunableNetwork, apply_plan
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import Choice
from ocrslim.selection.recipes import table_of
from ocrslim.sensitivity import unpruned_score
from ocrslim.training import Callback, TrainingJob, TrainingStatus, build_distillation, epochs_of
from ocrslim.utils import Ranks

logger = logging.getLogger(__name__)

_COLLAPSED = 0.8  # relative to the unpruned score; on receipts, 900 steps from 0.5 still ended 5 points short


def training_job(
    config: Config,
    data: tuple[LabelledSet, LabelledSet],
    networks: tuple[Network, Network | PrunableNetwork],
    plan: Plan,
    origin: Mapping[str, str],
    ranks: Ranks,
) -> TrainingJob:
    """Make the training of a pruned network.

    Args:
        networks: the one before any pruning, and the same pruned by `plan`.
        origin: what the plan was made from.
    """
    teacher, network = networks
    distillation = None
    if epochs_of(config):
        distillation = build_distillation(config, teacher.model, network.model, plan.since(teacher.plan))
    recovery = f"{config.prune.recover_images} images" if config.prune.recover else "none"
    settings = distillation.settings if distillation else "none"
    origin = {**origin, "recovery": recovery, "distillation": settings}
    return TrainingJob(network.model, config, *data, plan, origin, distillation, ranks)


def candidate_job(
    config: Config, data: tuple[LabelledSet, LabelledSet], networks: tuple[Network, Network], choice: Choice
) -> TrainingJob:
    """Make the training of a network that is pruned here by a choice, in this process alone.

    Args:
        networks: the one before any pruning, and the one to prune.
    """
    teacher, student = networks
    plan = choice.plan.after(student.plan)
    apply_plan(student.model, choice.plan)
    return training_job(config, data, (teacher, student), plan, choice.plan.origin, Ranks())


class RefitAtStart(Callback):
    """Refits the network when a new training starts, and warns if it has lost too much even so.

    Args:
        by_reconstruction: True if there is no sensitivity table with the unpruned network's score.
    """

    def __init__(self, job: TrainingJob, scores: CandidateScores, by_reconstruction: bool):
        self._job, self._scores, self._by_reconstruction = job, scores, by_reconstruction
        self._fresh = False

    def on_fresh_start(self, status: TrainingStatus) -> None:
        assert self._job.plan is not None
        self._scores.refit_what_helps(self._job.model, self._job.plan)
        self._fresh = True

    def on_evaluation(self, status: TrainingStatus) -> None:
        if self._fresh:
            self._fresh = False
            unpruned = self._scores.unpruned() if self._by_reconstruction else None
            _warn_of_collapse(self._job.config, status.evaluation.metrics, unpruned)


def _warn_of_collapse(config: Config, scores: Mapping[str, float], unpruned: float | None) -> None:
    """Warn if a pruned network has lost more than training can be expected to restore.

    Args:
        unpruned: the unpruned network's score; None to take it from the sensitivity table.
    """
    metric = config.main_indicator
    before, now = unpruned or unpruned_score(table_of(config), metric), scores[metric]
    if before and now < _COLLAPSED * before:
        remedy = "" if config.prune.recover else ", or let -o Prune.recover=true refit the layers first"
        trained = epochs_of(config) > 0
        when, enough = ("before training", " for training to restore it") if trained else ("pruned", "")
        logger.warning(
            "%s is %.4f %s and %.4f unpruned: too much was pruned at once%s; "
            "lower Prune.target or Prune.loss_tolerance%s",
            *(metric, now, when, before, enough, remedy),
        )
