"""Ratios of all groups, chosen by a tolerance or a target from the sensitivity table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ocrslim.config import PruneOptions
from ocrslim.errors import PlanError
from ocrslim.formats import Sensitivities
from ocrslim.graph import ChannelGraph, Group
from ocrslim.models import to_public
from ocrslim.pruning import (
    RECONSTRUCTION,
    CostOfCounts,
    check_patterns,
    loss_at,
    matches,
    product_cost,
    pruned_members,
    ratio_by_loss,
)
from ocrslim.selection.joint_loss import feature_errors, joint_loss, monotone_losses
from ocrslim.selection.target_search import Problem, cheapest, search

_SKIPPED = 4  # blocks near the input, where a sensitivity table chooses, as PaddleOCR's documentation has it


@dataclass(frozen=True)
class Selection:
    """Ratios to prune by, with their expected losses and saving.

    Attributes:
        ratios: by group name (state-dict key).
        skipped: reasons why the other layers are not pruned, by state-dict key.
        losses: loss of each group alone by the sensitivity table, by group name.
        saving: removed fraction of the target's cost; None without a target.
    """

    ratios: Mapping[str, float]
    skipped: Mapping[str, str]
    losses: Mapping[str, float] = field(default_factory=dict)
    saving: float | None = None

    @property
    def summed_loss(self) -> float:
        """Sum of the losses: a lower estimate of the joint loss."""
        return sum(self.losses.values())

    @property
    def joint_loss(self) -> float:
        """Expected joint loss (`ocrslim.selection.joint_loss`)."""
        losses, ratios = (np.array([values[name] for name in self.ratios]) for values in (self.losses, self.ratios))
        return joint_loss(float(feature_errors(losses, ratios).sum()))


def select(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts | None = None,
    exponent: float = 1.0,
) -> Selection:
    """Choose each group's ratio by `Prune.target`, or else by `Prune.loss_tolerance` as PaddleSlim does.

    Not pruned are groups with a member in the first `skip_first` blocks (`blocks_to_skip`), names that match `skip`,
    groups that are not in the table, and groups that lose more than `skip_loss` at `skip_ratio` by a sensitivity table:
    errors of the reconstruction are no losses of score, and need no limit, as their sum is what is minimised.
    Members that only read a group's channels keep their own and count for neither skip.

    Args:
        table: {state-dict key of the group: {ratio: loss}}.
        architecture: the `Architecture` section, for the public names that patterns match.
        cost: the cost that the target limits; needed only for `latency`, which is measured.
        exponent: a plan for a target minimises the sum of the layers' feature errors (`joint_loss.feature_errors`),
            each raised to this: 1 for errors in the same direction, 2 for independent errors.

    Raises:
        ConfigError: `Prune.skip` names a layer that does not exist.
        PlanError: the target cannot be reached; has the largest reachable one and the settings to relax.
    """
    members = [member.key for group in graph.groups.values() for member in group.members]
    check_patterns(options.skip, [*members, *graph.unprunable], graph, architecture, "Prune.skip")
    reasons = _reasons(graph, table, options, architecture)
    skipped = {**graph.unprunable, **reasons}
    candidates = [group for name, group in graph.groups.items() if name not in reasons]
    if options.target is None:
        ratios = _by_tolerance(candidates, table, options, skipped)
        return Selection(ratios, skipped, _losses(graph, table, ratios))
    ((kind, fraction),) = options.target.items()
    cost = cost or product_cost(graph, kind)
    counts = _by_target(graph, table, options, architecture, cost, exponent)
    ratios = {name: count / graph.groups[name].size for name, count in zip(graph.groups, counts.tolist()) if count}
    for group in candidates:
        if group.name not in ratios:
            skipped[group.name] = f"Prune.target {kind} {fraction:g} is reached with less loss without it"
    full, left = cost(np.stack([np.zeros_like(counts), counts]))
    return Selection(ratios, skipped, _losses(graph, table, ratios), float(1 - left / full))


def _reasons(
    graph: ChannelGraph, table: Sensitivities, options: PruneOptions, architecture: Mapping[str, Any]
) -> dict[str, str]:
    """Find the groups that are not pruned, and the reasons, by name."""
    blocks = {layer.key: layer.block for layer in graph.layers}
    found = {
        name: _skip_reason(group, table.get(name, {}), options, architecture, blocks)
        for name, group in graph.groups.items()
    }
    return {name: reason for name, reason in found.items() if reason}


def _by_tolerance(
    candidates: Iterable[Group], table: Sensitivities, options: PruneOptions, skipped: dict[str, str]
) -> dict[str, float]:
    """Choose the ratio that each group may lose alone; add the reason to `skipped` if there is none."""
    ratios = {}
    for group in candidates:
        tolerated = ratio_by_loss(table[group.name], options.loss_tolerance)
        ratio = permitted(tolerated, group, options)
        if ratio > 0:
            ratios[group.name] = ratio
        elif tolerated > 0:
            skipped[group.name] = _why_none(tolerated, group, options)
        else:
            tolerance = f"Prune.loss_tolerance {options.loss_tolerance:g}"
            skipped[group.name] = f"every measured ratio loses more than {tolerance}"
    return ratios


def _losses(graph: ChannelGraph, table: Sensitivities, ratios: Mapping[str, float]) -> dict[str, float]:
    """Loss of each group alone."""
    losses = {}
    for name, ratio in ratios.items():
        size = graph.groups[name].size
        losses[name] = loss_at(monotone_losses(table[name], size), round(size * ratio))
    return losses


def _by_target(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts,
    exponent: float,
) -> np.ndarray:
    """Find the number of units to remove from each group, int [groups].

    Raises:
        PlanError: the target cannot be reached.
    """
    ((kind, fraction),) = (options.target or {}).items()
    full = float(cost(np.zeros((1, len(graph.groups)), dtype=np.int64))[0])
    problem = _problem(graph, table, options, architecture, cost, exponent)
    picks = search(problem, (1 - fraction) * full)
    if picks is not None:
        return problem.counts(picks)

    def most(**changes: Any) -> float:
        eased = _problem(graph, table, options.model_copy(update=changes), architecture, cost)
        return 1 - eased.total(cheapest(eased)) / full

    raise PlanError(_unreachable(kind, fraction, options, most))


def _unreachable(kind: str, fraction: float, options: PruneOptions, most: Callable[..., float]) -> str:
    """Message with the largest reachable target, with the present settings and with each of them relaxed alone."""
    now = most()
    eased = {"skip_first": 0, "skip": (), "skip_loss": 1.0, "align": 1, "min_channels": 1}
    present = {key: getattr(options, key) for key in eased}
    present |= {"align": options.align or 1, "skip_first": blocks_to_skip(options)}
    further = {key: most(**{key: value}) for key, value in eased.items() if present[key] != value}
    # rounded down, so that the stated target is reachable
    helps = [
        f"Prune.{key} {_as_value(eased[key])}: {_rounded_down(far)}" for key, far in further.items() if far > now + 5e-4
    ]
    hint = f", or relax a setting ({'; '.join(helps)})" if helps else ""
    reached = f"Prune.target: {kind} {fraction:g} cannot be reached: at most {_rounded_down(now)} of the {kind} can be"
    if _by_errors(options):  # they are known for all counts
        return f"{reached} removed with these settings; lower the target{hint}"
    return (
        f"{reached} removed with these settings and the ratios in the sensitivity table; lower the target{hint}, "
        "or measure larger ratios"
    )


def _as_value(value: Any) -> str:
    return {"()": "[]"}.get(str(value), str(value))


def _rounded_down(fraction: float) -> str:
    return f"{np.floor(fraction * 1000) / 1000:.3f}"


def _problem(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts,
    exponent: float = 1.0,
) -> Problem:
    """Build the search problem: permitted counts of each group up to the largest measured ratio, and their losses."""
    reasons = _reasons(graph, table, options, architecture)
    choices, feature_loss = [], []
    for name, group in graph.groups.items():
        losses = {} if name in reasons else monotone_losses(table[name], group.size)
        counts = [0, *(count for count in permitted_counts(group, options) if losses and count <= max(losses))]
        choices.append(np.array(counts))
        alone = np.array([loss_at(losses, count) if count else 0.0 for count in counts])
        if _by_errors(options):  # which are exact, and add up
            feature_loss.append(alone)
        else:
            feature_loss.append(feature_errors(alone, choices[-1] / group.size) ** exponent)
    return Problem(choices, feature_loss, cost)


def permitted(ratio: float, group: Group, options: PruneOptions) -> float:
    """Find the largest ratio up to `ratio` that `Prune.align` and `Prune.min_channels` permit for `group`.

    Both count channels of the layer that names the group. It keeps a multiple of `align`, unless its units do not
    permit one (such as three channels each and one that is always kept), and at least `min_channels`. Units of unequal
    size count as their mean.
    """
    most = min(group.size - 1, round(group.size * ratio))
    return max((count for count in permitted_counts(group, options) if count <= most), default=0) / group.size


def permitted_counts(group: Group, options: PruneOptions) -> list[int]:
    """List the numbers of units that `Prune.align` and `Prune.min_channels` permit to remove, ascending from 1."""
    size, width, align = group.master.size, group.channels / group.size, options.align or 1
    kept = [size - count * width for count in range(group.size)]
    counts = range(1, group.size)
    aligned = [count for count in counts if kept[count] % align == 0]
    fitting = aligned if aligned or size <= align else counts
    return [count for count in fitting if kept[count] >= options.min_channels]


def _why_none(ratio: float, group: Group, options: PruneOptions) -> str:
    """Reason why `permitted` has no ratio up to `ratio`: one of the settings, or too few units."""
    asked = f"ratio {ratio:.3f} of {group.master.size} channels is less than"
    if not permitted(ratio, group, options.model_copy(update={"align": None, "min_channels": 1})):
        return f"{asked} one unit: the group has {group.size}, and one is always kept"
    if not permitted(ratio, group, options.model_copy(update={"align": None})):
        return f"Prune.min_channels {options.min_channels} does not allow removing any of {group.master.size} channels"
    if not permitted(ratio, group, options.model_copy(update={"min_channels": 1})):
        return f"{asked} a step of Prune.align {options.align}"
    return (
        f"Prune.align {options.align} and Prune.min_channels {options.min_channels} together do not allow "
        f"removing any of {group.master.size} channels"
    )


def blocks_to_skip(options: PruneOptions) -> int:
    """How many of the first blocks keep all channels.

    A sensitivity table is of single layers, measured without training, and says little of what errors near the input
    become in all layers behind; errors of the reconstruction do.
    """
    if options.skip_first is not None:
        return options.skip_first
    return 0 if _by_errors(options) else _SKIPPED


def _by_errors(options: PruneOptions) -> bool:
    """Tell whether ratios are chosen by errors of the reconstruction, not by the losses of a sensitivity table."""
    return options.criterion == RECONSTRUCTION and options.target is not None


def _why_unmeasured(group: Group, options: PruneOptions) -> str:
    """Reason why nothing tells what a group loses: no entry of the table, or no error of the reconstruction."""
    if not _by_errors(options):
        return "not in the sensitivity table"
    if group.summed:
        return (
            f"Prune.criterion {RECONSTRUCTION}: its channels meet in a product that sums over them, such as that of "
            "queries and keys, so that no layer behind them can be refitted"
        )
    return f"Prune.criterion {RECONSTRUCTION}: no layer that could be refitted reads its channels, and reads them once"


def _skip_reason(
    group: Group,
    losses: Mapping[float, float],
    options: PruneOptions,
    architecture: Mapping[str, Any],
    blocks: Mapping[str, int],
) -> str | None:
    members = pruned_members(group)
    for member in members:
        if 0 < blocks.get(member.key, 0) <= blocks_to_skip(options):
            name = to_public(member.key, architecture)
            return f"close to the input: {name} lies in the first {blocks_to_skip(options)} blocks (Prune.skip_first)"
    for member in members:
        for pattern in options.skip:
            if matches([pattern], member.key, architecture):
                return f"Prune.skip: {pattern!r} matches {to_public(member.key, architecture)}"
    if not losses:
        return _why_unmeasured(group, options)
    loss = loss_at(losses, options.skip_ratio)
    if not _by_errors(options) and loss > options.skip_loss:
        return (
            f"sensitive: loses {loss:.4f} at ratio {options.skip_ratio:g}, "
            f"more than Prune.skip_loss {options.skip_loss:g}"
        )
    return None
