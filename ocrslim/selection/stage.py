"""Stage 2: choose a plan, cut the network, refit it and train it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import LabelledSet, names_labels, scan_both
from ocrslim.evaluation import with_predicted_labels
from ocrslim.formats import PLAN_SUFFIX
from ocrslim.pruning import (
    ERROR_WEIGHTS,
    Network,
    Plan,
    PrunableNetwork,
    apply_plan,
    load_base_network,
    load_prunable_network,
    require_patterns,
    require_training,
)
from ocrslim.selection.candidates import CandidateScores
from ocrslim.selection.chooser import Choice, choose_plan
from ocrslim.selection.iterative import early_rounds
from ocrslim.selection.latency.target import require_runnable, require_runtime
from ocrslim.selection.overview.recording import record_choice
from ocrslim.selection.recipes import table_of
from ocrslim.sensitivity import unpruned_score
from ocrslim.training import (
    Callback,
    FitResult,
    Pace,
    TrainingJob,
    TrainingStatus,
    build_distillation,
    check_source,
    epochs_of,
    fit,
    measure_pace,
    training_sections,
    wants_event_log,
    with_training_settings,
)
from ocrslim.utils import Ranks, check_writable, join_launch

logger = logging.getLogger(__name__)

_COLLAPSED = 0.8  # relative to the unpruned score; on receipts, 900 steps from 0.5 still ended 5 points short


@dataclass(frozen=True)
class PruneResult:
    """Result of pruning and training.

    Attributes:
        choice: the plan of the last round, with its costs and expected losses.
        plan: file of the whole plan, beside the weights.
        training: result of the training.
        before: costs before the first of several rounds; {} for a single round.
    """

    choice: Choice
    plan: Path
    training: FitResult
    before: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plan, costs and the result of the training as JSON values."""
        chosen = self.choice.to_json()
        costs = {key: chosen[key] for key in ("predicted_loss", "macs", "params")}
        return {"plan": str(self.plan), **costs, **self.before, **self.training.to_json()}


def prune_and_train(
    config: Config,
    choice: Choice | None = None,
    on_choice: Callable[[Choice], None] | None = None,
    chosen_by: PrunableNetwork | None = None,
) -> PruneResult:
    """Choose a plan, prune, refit and train; write `best_accuracy.*` to `Global.save_model_dir`.

    Continues the run that the folder holds. Several processes of Paddle's launcher train together.

    Args:
        choice: the plan, if chosen already.
        on_choice: called with the plan before the network is pruned, in the first process only.
        chosen_by: the network that `choice` was made for, which is not changed: what the criterion measured of it
            need not be measured again.

    Raises:
        ConfigError, DataError, WeightsError: settings, images or weights are missing or wrong.
        GraphError: the network cannot be run as it trains, so that its training would not survive a cut.
        NothingToPrune: no layer may lose channels.
        PlanError: the target cannot be reached.
        TrainingError: the folder holds another run, or training diverged.
    """
    wants_event_log(config)
    config = _ready_to_train(config)
    require_patterns(config)
    require_runtime(config)
    check_source(config)
    with join_launch() as ranks:
        return _run(config, ranks, choice, on_choice or (lambda _: None), chosen_by)


def _run(
    config: Config,
    ranks: Ranks,
    choice: Choice | None,
    on_choice: Callable[[Choice], None],
    chosen_by: PrunableNetwork | None = None,
) -> PruneResult:
    folder = check_writable(config.save_model_dir) if ranks.first else config.save_model_dir
    if ranks.first and choice is None:
        require_runnable(config)
    config = _ready_to_train(ranks.share(with_predicted_labels(config) if ranks.first else None))
    data, teacher = scan_both(config), load_base_network(config)
    scores = CandidateScores(config, teacher, data)
    last = early_rounds(config, data[0], scores)
    network = load_prunable_network(last.config, data[0], ERROR_WEIGHTS)
    if chosen_by is not None and chosen_by.by_reconstruction and not last.before:  # rounds have changed it
        network = network.with_orders_of(chosen_by)
    if epochs_of(config):
        require_training(network.graph)
    if choice is None:  # the first rank scores candidates and measures latencies
        choice = ranks.share(choose_plan(network, partial(scores.score, last.config)) if ranks.first else None)
    if ranks.first:
        on_choice(choice)
        unpruned = scores.unpruned() if choice.by_reconstruction else None
        record_choice(network, choice, folder, unpruned, last.before)
    plan = choice.plan.after(network.plan)
    apply_plan(network.model, choice.plan)
    job = _job(config, data, (teacher, network), plan, {**choice.plan.origin, **last.origin}, ranks)
    result = fit(job, _RefitAtStart(job, scores, choice.by_reconstruction))
    return PruneResult(choice, folder / f"best_accuracy{PLAN_SUFFIX}", result, last.before)


def _job(
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


def training_pace(config: Config, choice: Choice) -> Pace:
    """Measure how long the steps of the training take that `prune_and_train` would do; nothing is written.

    Raises:
        ConfigError, DataError, WeightsError: as `prune_and_train`.
    """
    config = _ready_to_train(config)
    networks = load_base_network(config), load_base_network(config)
    plan = choice.plan.after(networks[1].plan)
    apply_plan(networks[1].model, choice.plan)
    return measure_pace(_job(config, scan_both(config), networks, plan, choice.plan.origin, Ranks()))


def _ready_to_train(config: Config) -> Config:
    """Return the configuration with all settings of its training; raise `ConfigError` where something is missing."""
    config = with_training_settings(config)
    config.require("Architecture", "Eval", "PostProcess", *training_sections(config))
    return config


def choose(config: Config) -> Choice:
    """Choose the plan that `prune_and_train` would apply, without changing or writing anything.

    With several `Prune.rounds` it is the plan of a single round: later rounds depend on the result of this one.

    Raises:
        NothingToPrune, PlanError: as `prune_and_train`.
    """
    config.require("Architecture")
    require_patterns(config)
    require_runtime(config)
    require_runnable(config)
    data: tuple[LabelledSet, LabelledSet] | None = None
    score = None
    if config.prune.target:
        by_labels = epochs_of(config) and names_labels(config, "Train")
        config.require("Train" if by_labels else "Train.dataset", "Eval", "PostProcess")
        config = with_predicted_labels(config)
        data = scan_both(config)
        score = partial(CandidateScores(config, load_base_network(config), data, keep=False).score, config)
    return choose_plan(load_prunable_network(config, data[0] if data else None, ERROR_WEIGHTS), score)


class _RefitAtStart(Callback):
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
