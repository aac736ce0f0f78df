"""Stage 2 as a command: choose, cut, refit, train."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from paddle import nn

from ocrslim.config import Config
from ocrslim.data import scan_both
from ocrslim.pruning import SUFFIX, Plan, Scored, apply_plan, load_prunable, load_scored, require_patterns
from ocrslim.selection import Choice, NothingToPrune, Trial, Trials, choose_plan, early_rounds, table_of
from ocrslim.sensitivity import unpruned_score
from ocrslim.training import Distillation, check_source, fit_network, wants_event_log
from ocrslim.utils import Ranks, check_writable, joined

logger = logging.getLogger(__name__)

_COLLAPSED = 0.8  # of the unpruned network's score: the receipts were still 5 points short after 900 steps from half


def run_prune(config: Config) -> dict[str, Any]:
    """Stage 2: plan from the table, surgery, refit, fine-tuning -> a checkpoint with its plan."""
    wants_event_log(config)
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    require_patterns(config)
    check_source(config)
    with joined() as ranks:
        return _prune(config, ranks)


def _prune(config: Config, ranks: Ranks) -> dict[str, Any]:
    folder = check_writable(config.save_model_dir) if ranks.first else config.save_model_dir
    data, teacher = scan_both(config), load_prunable(config)
    trials = Trials(config, teacher, data)
    last = early_rounds(config, data[0], trials)
    scored = load_scored(last.config, data[0])
    # trials and measured times are the first rank's
    choice = ranks.share(_choose(scored, partial(trials.score, last.config)) if ranks.first else None)
    plan = choice.plan.after(scored.plan)
    apply_plan(scored.model, choice.plan)
    distillation = _distillation(config, teacher.model, scored.model, plan.since(teacher.plan))
    recovery = f"{config.prune.recover_images} images" if config.prune.recover else "none"
    settings = distillation.settings if distillation else "none"
    origin = {**choice.plan.origin, **last.origin, "recovery": recovery, "distillation": settings}
    fresh: list[bool] = []  # whether the next evaluation is the one before training

    def prepare() -> None:
        trials.refit(scored.model, plan)
        fresh.append(True)

    def judge(scores: Mapping[str, float]) -> None:
        if fresh:
            fresh.clear()
            _warn_of_collapse(config, scores, trials.unpruned() if scored.by_reconstruction else None)

    result = fit_network(config, scored.model, data, plan, origin, prepare, distillation, judge, ranks)
    costs = {key: value for key, value in choice.to_json().items() if key in ("predicted_loss", "macs", "params")}
    return {"plan": str(folder / f"best_accuracy{SUFFIX}"), **costs, **last.before, **result}


def run_dry(config: Config) -> dict[str, Any]:
    """Choose and print the plan that `run_prune` would apply; nothing is changed or written.

    With several `Prune.rounds` it is the plan of a single one: what the later ones do, nobody knows before.
    """
    config.require("Architecture")
    require_patterns(config)
    data, trial = None, None
    if config.prune.target:
        config.require("Train", "Eval", "PostProcess")
        data = scan_both(config)
        trial = partial(Trials(config, load_prunable(config), data, keep=False).score, config)
    choice = _choose(load_scored(config, data[0] if data else None), trial)
    print("\ndry run: nothing was pruned and nothing written", flush=True)
    return {"dry_run": True, **choice.to_json()}


def _choose(scored: Scored, trial: Trial | None) -> Choice:
    """Choose a plan and print it; where no layer may be pruned, print the layers with the reasons."""
    try:
        choice = choose_plan(scored, trial)
    except NothingToPrune as error:
        print(error.layers, flush=True)
        raise
    print(choice.summary, flush=True)
    return choice


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
