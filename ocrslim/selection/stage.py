"""Stage 2: choose a plan, cut the network, refit it and train it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paddle import nn

from ocrslim.config import Config
from ocrslim.data import LabelledSet, scan_both
from ocrslim.pruning import SUFFIX, Plan, apply_plan, load_prunable, load_scored, require_patterns
from ocrslim.selection.candidates import Trials
from ocrslim.selection.chooser import Choice, choose_plan, table_of
from ocrslim.selection.iterative import early_rounds
from ocrslim.sensitivity import unpruned_score
from ocrslim.training import (
    Callback,
    Distillation,
    FitResult,
    TrainingJob,
    TrainingStatus,
    check_source,
    fit,
    wants_event_log,
)
from ocrslim.utils import Ranks, check_writable, join_launch

logger = logging.getLogger(__name__)

_COLLAPSED = 0.8  # of the unpruned network's score: the receipts were still 5 points short after 900 steps from half


@dataclass(frozen=True)
class PruneResult:
    """A network that was pruned and trained.

    Attributes:
        choice: the plan of the last round, with its costs and expected losses.
        plan: the file of the whole plan, beside the weights.
        training: what training brought.
        before: costs before the first of several rounds; {} for a single one.
    """

    choice: Choice
    plan: Path
    training: FitResult
    before: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plan, costs and the training."""
        chosen = self.choice.to_json()
        costs = {key: chosen[key] for key in ("predicted_loss", "macs", "params")}
        return {"plan": str(self.plan), **costs, **self.before, **self.training.to_json()}


def prune_and_train(
    config: Config, choice: Choice | None = None, on_choice: Callable[[Choice], None] | None = None
) -> PruneResult:
    """Choose a plan, cut the network by it, refit and train it -> `best_accuracy.*` in `Global.save_model_dir`.

    Goes on with the run that the folder holds. Several processes of Paddle's launcher train together.

    Args:
        choice: the plan, where it is chosen already.
        on_choice: is given the plan before the network is cut, in the first of the processes.

    Raises:
        ConfigError, DataError, WeightsError: something is missing or wrong.
        NothingToPrune: no layer may lose channels.
        PlanError: the target cannot be reached.
        TrainingError: the folder holds another run, or training diverged.
    """
    wants_event_log(config)
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    require_patterns(config)
    check_source(config)
    with join_launch() as ranks:
        return _run(config, ranks, choice, on_choice or (lambda _: None))


def _run(config: Config, ranks: Ranks, given: Choice | None, on_choice: Callable[[Choice], None]) -> PruneResult:
    folder = check_writable(config.save_model_dir) if ranks.first else config.save_model_dir
    data, teacher = scan_both(config), load_prunable(config)
    trials = Trials(config, teacher, data)
    last = early_rounds(config, data[0], trials)
    scored = load_scored(last.config, data[0])
    choice = given
    if choice is None:  # trials and measured times are the first rank's
        choice = ranks.share(choose_plan(scored, partial(trials.score, last.config)) if ranks.first else None)
    if ranks.first:
        on_choice(choice)
    plan = choice.plan.after(scored.plan)
    apply_plan(scored.model, choice.plan)
    distillation = _distillation(config, teacher.model, scored.model, plan.since(teacher.plan))
    recovery = f"{config.prune.recover_images} images" if config.prune.recover else "none"
    settings = distillation.settings if distillation else "none"
    origin = {**choice.plan.origin, **last.origin, "recovery": recovery, "distillation": settings}
    job = TrainingJob(scored.model, config, *data, plan, origin, distillation, ranks)
    result = fit(job, _Recovery(job, trials, scored.by_reconstruction))
    return PruneResult(choice, folder / f"best_accuracy{SUFFIX}", result, last.before)


def choose(config: Config) -> Choice:
    """Choose the plan that `prune_and_train` would apply; nothing is changed or written.

    With several `Prune.rounds` it is the plan of a single one: later rounds depend on the result of earlier ones.

    Raises:
        NothingToPrune, PlanError: as `prune_and_train`.
    """
    config.require("Architecture")
    require_patterns(config)
    data: tuple[LabelledSet, LabelledSet] | None = None
    trial = None
    if config.prune.target:
        config.require("Train", "Eval", "PostProcess")
        data = scan_both(config)
        trial = partial(Trials(config, load_prunable(config), data, keep=False).score, config)
    return choose_plan(load_scored(config, data[0] if data else None), trial)


class _Recovery(Callback):
    """Refits a freshly pruned network, and warns where it has lost too much all the same.

    Args:
        by_reconstruction: no sensitivity table knows what the unpruned network scored.
    """

    def __init__(self, job: TrainingJob, trials: Trials, by_reconstruction: bool):
        self._job, self._trials, self._by_reconstruction = job, trials, by_reconstruction
        self._fresh = False

    def on_fresh_start(self, status: TrainingStatus) -> None:
        assert self._job.plan is not None
        self._trials.refit(self._job.model, self._job.plan)
        self._fresh = True

    def on_evaluation(self, status: TrainingStatus) -> None:
        if self._fresh:
            self._fresh = False
            unpruned = self._trials.unpruned() if self._by_reconstruction else None
            _warn_of_collapse(self._job.config, status.evaluation.metrics, unpruned)


def _distillation(config: Config, teacher: nn.Layer, student: nn.Layer, plan: Plan) -> Distillation | None:
    """What `student` learns from the network that it was; None where `Prune.distill` has no weight above 0."""
    weights = dict(config.prune.distill)
    fade, distilled = weights.pop("fade"), config.task.distilled(config.section("Loss"))
    if distilled is None or not any(weights.values()):
        return None
    return Distillation(teacher, student, plan, weights, distilled, fade)


def _warn_of_collapse(config: Config, scores: Mapping[str, float], unpruned: float | None) -> None:
    """Say so where a pruned network has lost more than training can be expected to bring back.

    Args:
        unpruned: what the network scored before; None where the sensitivity table knows it.
    """
    metric = config.main_indicator
    before, now = unpruned or unpruned_score(table_of(config), metric), scores[metric]
    if before and now < _COLLAPSED * before:
        remedy = "" if config.prune.recover else ", or let -o Prune.recover=true refit the layers first"
        logger.warning(
            "%s is %.4f before training, and was %.4f unpruned: too much was pruned at once for training to make up; "
            "ask for less, with a lower Prune.target or Prune.loss_tolerance%s",
            *(metric, now, before, remedy),
        )
