"""Choice of a plan among those of several recipes, with a summary of expected losses and savings."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ocrslim.config import Config
from ocrslim.errors import PlanError
from ocrslim.models import to_public
from ocrslim.pruning import MACS, Cost, Plan, PrunableNetwork, measure_cost
from ocrslim.report import plan_table
from ocrslim.selection.alignment import block_text, with_block
from ocrslim.selection.competition import Candidate, Trials, compete
from ocrslim.selection.latency.target import LATENCY, LatencyTarget, place_text
from ocrslim.selection.recipes import Recipe, losses_of, recipes_of, table_of
from ocrslim.selection.select import Selection, select
from ocrslim.utils import hash_value

logger = logging.getLogger(__name__)

Score = Callable[[Plan], float]

_OFF = 0.1  # difference of predicted and measured latency, relative to the unpruned one, that is warned of
_ALARMING = 0.2  # joint loss before training from which on a warning is given


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
    """A plan with its expected losses and costs.

    Attributes:
        plan: the plan.
        recipe: how it was made.
        selection: ratios and expected losses by layer.
        before, after: MACs and parameters of the network and of the pruned network.
        latency: milliseconds where it will run, `before`, `predicted`, `measured`; {} unless that is the target.
        refitted: True if layers are refitted before training, so that the losses of the table do not apply.
        candidates: the plans that competed, this one among them; () where there was no other.
        summary: a text with the pruned layers, the others with the reasons, expected losses and costs.
    """

    plan: Plan
    recipe: Recipe
    selection: Selection
    before: Cost
    after: Cost
    latency: Mapping[str, float] = field(default_factory=dict)
    refitted: bool = False
    candidates: tuple[Candidate, ...] = ()
    summary: str = ""

    @property
    def by_reconstruction(self) -> bool:
        """True if the plan is by reconstruction errors, not by a sensitivity table."""
        return self.recipe.weights is not None

    def left(self, kind: str) -> float:
        """Compute the remaining fraction of the MACs, the parameters or the measured latency (`kind`)."""
        if kind == LATENCY:
            return self.latency["measured"] / self.latency["before"]
        return float(getattr(self.after, kind) / getattr(self.before, kind))

    def candidate(self, score: float) -> Candidate:
        """Describe the plan as one that competes, with its score before training."""
        return Candidate(self.recipe.name, len(self.plan.ratios), 1 - self.left(MACS), score)

    def to_json(self) -> dict[str, Any]:
        """Return ratios, losses and reasons by public name, predicted losses, MACs and parameters before and after.

        Predicted losses are those before training, without a refit; None if layers are refitted.
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
            "recipe": self.recipe.name,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }


def choose_plan(network: PrunableNetwork, score: Score | None = None, trials: Trials[Choice] | None = None) -> Choice:
    """Choose a plan by the sensitivity table, or by reconstruction errors.

    For a target there is a candidate plan for each of `recipes_of`, as losses of single layers do not tell how they
    compound, nor errors what they cost; the candidate with the best score is taken, the first of equals.

    Args:
        score: scores a plan; without it the plan of the first recipe is taken.
        trials: trainings that the best of them are compared by.

    Raises:
        ArtifactError: the table is missing, damaged, or of another model.
        NothingToPrune: no layer may lose channels.
        PlanError: `Prune.target` cannot be reached.
    """
    config, path = network.config, table_of(network.config)
    architecture = config.section("Architecture")
    recipes = recipes_of(network)
    choices = _choices(network, recipes if score else recipes[:1])
    choice = choices[0]
    if score is not None and len(choices) > 1:
        choice, candidates = compete(choices, score, trials)
        choice = replace(choice, candidates=candidates)
    selection, network = choice.selection, choice.recipe.of(network)
    title = "error alone" if network.by_reconstruction else "loss alone"
    layers = plan_table(network.graph, selection.ratios, selection.skipped, architecture, selection.losses, title)
    if not selection.ratios:
        raise NothingToPrune(
            f"{path}: no layer may lose channels, for the reasons listed above: raise Prune.loss_tolerance (now "
            f"{config.prune.loss_tolerance:g}) or Prune.skip_loss where the loss is the reason; lower "
            "Prune.skip_first, Prune.align or Prune.min_channels, or shorten Prune.skip, where those are named",
            layers,
        )
    _warn(choice, network.by_reconstruction)
    losses, costs = _losses_text(choice, network.by_reconstruction), _costs_text(choice, config)
    return replace(choice, summary="\n\n".join([layers, losses]) + "\n" + costs)


def _choices(network: PrunableNetwork, recipes: Sequence[Recipe]) -> list[Choice]:
    """Make the distinct plans of the recipes that reach the target."""
    found: list[Choice] = []
    faults: list[PlanError] = []
    for _, alike in itertools.groupby(recipes, key=lambda recipe: (recipe.criterion, recipe.weights)):
        listed = list(alike)
        try:
            found += _choices_of(listed[0].of(network), listed)
        except PlanError as fault:
            faults.append(fault)
    if not found:
        raise faults[0]
    distinct = {choice.plan.hash(): choice for choice in reversed(found)}
    return [*reversed(distinct.values())]


def _choices_of(network: PrunableNetwork, recipes: Sequence[Recipe]) -> list[Choice]:
    """Make the plans of recipes that differ in their exponents alone."""
    table = losses_of(network)
    options, architecture = with_block(network.config), network.config.section("Architecture")
    pruner = network.channel_pruner()
    origin = {**network.hashes(), "sensitivities": hash_value(table)}

    def made(recipe: Recipe, selection: Selection, latency: Mapping[str, float] | None = None) -> Choice:
        cuts = pruner.cuts(selection.ratios)
        plan = Plan(architecture, cuts, selection.ratios, selection.skipped, options.criterion, origin)
        before, after = measure_cost(network.graph), measure_cost(network.graph, cuts)
        return Choice(plan, recipe, selection, before, after, latency or {}, options.recover)

    if options.target is None:
        return [made(recipes[0], select(network.graph, table, options, architecture))]
    if LATENCY in options.target:
        with LatencyTarget(network, pruner, table, options) as target:
            return [made(recipe, *target.plan(recipe.exponent)) for recipe in recipes]
    return [
        made(recipe, select(network.graph, table, options, architecture, exponent=recipe.exponent))
        for recipe in recipes
    ]


def _losses_text(choice: Choice, errors: bool) -> str:
    """Describe the expected loss; for refitted layers, the reason why there is none."""
    summed, joint = choice.selection.summed_loss, choice.selection.joint_loss
    weights = choice.recipe.weights
    if errors and weights is not None:
        return (
            f"expected error of the refitted layers, summed: {summed:.3f} ({weights.variance:g} times relative to the "
            f"variance of their outputs, plus {weights.divergence:g} times the divergence of the network's output)"
        )
    if choice.refitted:
        return (
            "layers are refitted before training (Prune.recover), so the losses above, measured without a refit, do "
            "not predict the joint loss: see the score that is printed before training"
        )
    return (
        f"predicted loss before training: {summed:.4f} as the sum of the layers' losses, "
        f"{joint:.4f} as their joint loss"
    )


def _costs_text(choice: Choice, config: Config) -> str:
    """Describe MACs, parameters and, if it is the target, latency, before and after; and the block of channels."""
    size = "x".join(map(str, config.task.nominal_shape[2:]))
    before, after = choice.before, choice.after
    costs = [(f"MACs at {size}", before.macs, after.macs), ("parameters", before.params, after.params)]
    lines = [f"{what}: {old:,} -> {new:,}, {1 - new / old:.1%} removed" for what, old, new in costs]
    if choice.latency:
        full, predicted, measured = (choice.latency[key] for key in ("before", "predicted", "measured"))
        lines.append(
            f"latency at {size}, {place_text(config)}: {full:.1f} ms -> {predicted:.1f} ms predicted, "
            f"{1 - predicted / full:.1%} less; {measured:.1f} ms measured, {1 - measured / full:.1%} less"
        )
    return "\n".join(filter(None, [*lines, block_text(config)]))


def _warn(choice: Choice, errors: bool) -> None:
    """Warn of a large expected loss, and of a poor latency prediction."""
    joint = choice.selection.joint_loss
    if joint >= _ALARMING and not errors and not choice.refitted:
        logger.warning(
            "joint loss of the pruned layers: %.0f %% of the score before training: lower Prune.target or "
            "Prune.loss_tolerance, or check the score that is printed before training",
            100 * joint,
        )
    if choice.latency:
        full, predicted, measured = (choice.latency[key] for key in ("before", "predicted", "measured"))
        if abs(measured - predicted) > _OFF * full:
            logger.warning(
                "latency: prediction and measurement differ by %.0f %% of the unpruned latency: the machine was busy "
                "while it was measured; delete the file named above and measure again on an idle machine",
                100 * abs(measured - predicted) / full,
            )
