"""From the sensitivity table to a plan: chosen, printed with what it is expected to cost and to save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import PlanError
from ocrslim.formats import Sensitivities
from ocrslim.models import to_public
from ocrslim.pruning import MACS, Cost, Plan, PrunableNetwork, measure_cost
from ocrslim.report import plan_table
from ocrslim.selection.latency.benchmark import THREADS
from ocrslim.selection.latency.target import LATENCY, LatencyTarget
from ocrslim.selection.select import Selection, select
from ocrslim.sensitivity import TABLE, load_table
from ocrslim.tasks import Task
from ocrslim.utils import hash_value

logger = logging.getLogger(__name__)

# How the damages of single layers are taken to add up: as they are, which is right for errors that go the same way, or
# their squares, which is right for independent ones. Refitted layers are nearer to the latter (docs/selection.md).
POWERS = (1.0, 1.5, 2.0)
_ERRORS = (2.0,)  # of the roots of squared errors: the errors of refitted layers themselves
Trial = Callable[[Plan], float]

_OFF = 0.1  # difference of prediction and measurement, of the unpruned time, that is worth a word
_ALARMING = 0.2  # a loss before training from which on a word of warning is due


class NothingToPrune(PlanError):
    """No layer may lose channels.

    Attributes:
        layers: the layers with the reasons, as a table.
    """

    def __init__(self, message: str, layers: str):
        super().__init__(message)
        self.layers = layers


@dataclass(frozen=True)
class Choice:
    """A plan and what is known of it before it is applied.

    Attributes:
        before, after: costs of the network and of the pruned one, by their shapes.
        latency: milliseconds on one thread, where they are the target: `before`, `predicted`, and `measured`.
        refitted: whether layers are refitted before training, so that the losses of merely cut ones predict nothing.
        summary: the pruned layers and those left alone with the reasons, expected losses and costs, as a text.
    """

    plan: Plan
    selection: Selection
    before: Cost
    after: Cost
    latency: Mapping[str, float] = field(default_factory=dict)
    refitted: bool = False
    summary: str = ""

    def left(self, kind: str) -> float:
        """The fraction that is left of the MACs, the parameters or the measured latency."""
        if kind == LATENCY:
            return self.latency["measured"] / self.latency["before"]
        return float(getattr(self.after, kind) / getattr(self.before, kind))

    def to_json(self) -> dict[str, Any]:
        """Ratios, single losses and reasons by public name, predicted losses, MACs and parameters before and after.

        Losses are predicted for a network that is trained as it was cut; None where layers are refitted first.
        """
        chosen, architecture = self.selection, self.plan.architecture

        def public(values: Any) -> dict[str, Any]:
            return {to_public(name, architecture): value for name, value in values.items()}

        return {
            "ratios": public(chosen.ratios),
            "losses": public(chosen.losses),
            "skipped": public(chosen.skipped),
            "predicted_loss": (None if self.refitted else {"summed": chosen.summed_loss, "joint": chosen.joint_loss}),
            "macs": [self.before.macs, self.after.macs],
            "params": [self.before.params, self.after.params],
            **({"latency_ms": dict(self.latency)} if self.latency else {}),
        }


def table_of(config: Config) -> Path:
    """The sensitivity table that ratios are chosen by."""
    return Path(config.prune.sen_file or config.save_model_dir / TABLE)


def choose_plan(scored: PrunableNetwork, trial: Trial | None = None) -> Choice:
    """Choose ratios from `sen.pickle`; the choice's summary says what is pruned, what is left alone and why.

    Where there is a target, several plans reach it, as nobody knows how the losses of single layers add up: each is
    tried, and the best taken. With the criterion `reconstruction` the errors that refitting leaves take the place of
    the losses: they add up, and there is one plan.

    Args:
        trial: the score of a plan; without one the first plan is taken.

    Raises:
        ArtifactError: the table is missing, damaged, or of another model.
        NothingToPrune: no layer may lose channels.
        PlanError: `Prune.target` cannot be reached.
    """
    config, path, title = scored.config, table_of(scored.config), "loss alone"
    architecture = config.section("Architecture")
    if scored.by_reconstruction:
        table: Sensitivities = {name: removal.losses for name, removal in scored.removals.items()}
        powers: Sequence[float] = _ERRORS
        title = "error alone"
    else:
        table = load_table(path, scored.graph, architecture, scored.hashes(), config.prune.loss_tolerance)
        powers = POWERS if trial else POWERS[:1]
    choice = _best(_choices(scored, table, powers), trial)
    selection = choice.selection
    layers = plan_table(scored.graph, selection.ratios, selection.skipped, architecture, selection.losses, title)
    if not selection.ratios:
        raise NothingToPrune(
            f"{path}: no layer may lose channels, for the reasons listed above: raise Prune.loss_tolerance (now "
            f"{config.prune.loss_tolerance:g}) or Prune.skip_loss where the loss is the reason; lower "
            "Prune.skip_first, Prune.align or Prune.min_channels, or shorten Prune.skip, where those are named",
            layers,
        )
    _warn(choice, scored.by_reconstruction)
    losses, costs = _losses_text(choice, scored.by_reconstruction), _costs_text(choice, config.task)
    return replace(choice, summary="\n\n".join([layers, losses]) + "\n" + costs)


def _choices(scored: PrunableNetwork, table: Sensitivities, powers: Sequence[float]) -> list[Choice]:
    """The plans that reach the target by each of `powers`, or the one by the tolerance; no plan twice."""
    options, architecture = scored.config.prune, scored.config.section("Architecture")
    pruner = scored.pruner()
    origin = {**scored.hashes(), "sensitivities": hash_value(table)}

    def made(selection: Selection, latency: Mapping[str, float] | None = None) -> Choice:
        cuts = pruner.cuts(selection.ratios)
        plan = Plan(architecture, cuts, selection.ratios, selection.skipped, options.criterion, origin)
        before, after = measure_cost(scored.graph), measure_cost(scored.graph, cuts)
        return Choice(plan, selection, before, after, latency or {}, options.recover)

    if options.target is None:
        return [made(select(scored.graph, table, options, architecture))]
    logger.info("ratios are chosen by Prune.target; Prune.loss_tolerance is not used")
    if LATENCY in options.target:
        goal = LatencyTarget(scored, pruner, table)
        found = [made(*goal.reach(power)) for power in powers]
    else:
        found = [made(select(scored.graph, table, options, architecture, power=power)) for power in powers]
    return list({choice.plan.hash(): choice for choice in found}.values())


def _best(choices: Sequence[Choice], trial: Trial | None) -> Choice:
    """The choice that scores best, the first of equals."""
    if trial is None or len(choices) == 1:
        return choices[0]
    logger.info("%d plans reach the target; each is cut, refitted and scored before training:", len(choices))
    scores = []
    for choice in choices:
        scores.append(trial(choice.plan))
        layers, macs = len(choice.plan.ratios), 1 - choice.left(MACS)
        logger.info("  %d layers pruned, %.1f%% of the MACs removed: %.4f", layers, 100 * macs, scores[-1])
    logger.info("the best of them is taken: %.4f", max(scores))
    return choices[scores.index(max(scores))]


def _losses_text(choice: Choice, errors: bool) -> str:
    """What is expected to be lost; for refitted layers, why that is not known."""
    summed, joint = choice.selection.summed_loss, choice.selection.joint_loss
    if errors:
        return f"the refitted layers' outputs will be off by {summed:.1%} of their variance, all errors added up"
    if choice.refitted:
        return (
            "layers are refitted before training (Prune.recover), so the losses above, of layers merely cut, do not "
            "add up to a prediction: the score that is printed before training starts is what counts"
        )
    return (
        f"predicted loss before training: {summed:.4f} if the layers' losses only add up, "
        f"{joint:.4f} if they reinforce one another"
    )


def _costs_text(choice: Choice, task: Task) -> str:
    """MACs, parameters and, where it is the target, latency, before and after."""
    size = "x".join(map(str, task.nominal_shape[2:]))
    before, after = choice.before, choice.after
    costs = [(f"MACs at {size}", before.macs, after.macs), ("parameters", before.params, after.params)]
    lines = [f"{what}: {old:,} -> {new:,}, {1 - new / old:.1%} removed" for what, old, new in costs]
    if choice.latency:
        full, predicted, measured = (choice.latency[key] for key in ("before", "predicted", "measured"))
        lines.append(
            f"latency at {size}, {THREADS} thread: {full:.1f} ms -> {predicted:.1f} ms predicted, "
            f"{1 - predicted / full:.1%} less; {measured:.1f} ms measured, {1 - measured / full:.1%} less"
        )
    return "\n".join(lines)


def _warn(choice: Choice, errors: bool) -> None:
    """Warn of a large expected loss, and of a latency that was predicted badly."""
    joint = choice.selection.joint_loss
    if joint >= _ALARMING and not errors and not choice.refitted:
        logger.warning(
            "the pruned layers may together lose %.0f %% of the score before training: ask for less, with a lower "
            "Prune.target or Prune.loss_tolerance, or look at the score before training that follows",
            100 * joint,
        )
    if choice.latency:
        full, predicted, measured = (choice.latency[key] for key in ("before", "predicted", "measured"))
        if abs(measured - predicted) > _OFF * full:
            logger.warning(
                "latency: prediction and measurement differ by %.0f %% of the unpruned network's time: the table was "
                "measured beside other work; delete the file named above and measure again on an idle machine",
                100 * abs(measured - predicted) / full,
            )
