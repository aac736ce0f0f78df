"""Stage 2: choose a plan, cut the network, refit it and train it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import names_labels, scan_both
from ocrslim.evaluation import with_predicted_labels
from ocrslim.formats import PLAN_SUFFIX
from ocrslim.pruning import (
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
from ocrslim.selection.jobs import RefitAtStart, candidate_job, training_job
from ocrslim.selection.latency.target import require_runnable, require_runtime
from ocrslim.selection.overview.recording import record_choice
from ocrslim.selection.trials import trials_of
from ocrslim.training import (
    FitResult,
    Pace,
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
    network = load_prunable_network(last.config, data[0], inputs=scores.inputs)
    if chosen_by is not None and chosen_by.by_reconstruction and not last.before:  # rounds have changed it
        network = network.with_orders_of(chosen_by)
    if epochs_of(config):
        require_training(network.graph)
    if choice is None:  # the first rank scores candidates and measures latencies
        found = None
        if ranks.first:
            trials = trials_of(config, last.config, data, (teacher, network), scores)
            found = choose_plan(network, partial(scores.score, last.config), trials)
        choice = ranks.share(found)
    if ranks.first:
        on_choice(choice)
        unpruned = scores.unpruned() if choice.by_reconstruction else None
        record_choice(network, choice, folder, unpruned, last.before)
    plan = choice.plan.after(network.plan)
    apply_plan(network.model, choice.plan)
    job = training_job(config, data, (teacher, network), plan, {**choice.plan.origin, **last.origin}, ranks)
    result = fit(job, RefitAtStart(job, scores, choice.by_reconstruction))
    return PruneResult(choice, folder / f"best_accuracy{PLAN_SUFFIX}", result, last.before)


def training_pace(config: Config, choice: Choice) -> Pace:
    """Measure how long the steps of the training take that `prune_and_train` would do; nothing is written.

    Raises:
        ConfigError, DataError, WeightsError: as `prune_and_train`.
    """
    config = _ready_to_train(config)
    networks = load_base_network(config), load_base_network(config)
    return measure_pace(candidate_job(config, scan_both(config), networks, choice))


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
    if not config.prune.target:
        return choose_plan(load_prunable_network(config))
    by_labels = epochs_of(config) and names_labels(config, "Train")
    config.require("Train" if by_labels else "Train.dataset", "Eval", "PostProcess")
    config = with_predicted_labels(config)
    data = scan_both(config)
    scores = CandidateScores(config, load_base_network(config), data, keep=False)
    network = load_prunable_network(config, data[0], inputs=scores.inputs)
    return choose_plan(network, partial(scores.score, config))
