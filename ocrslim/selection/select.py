"""How much of each group to remove, decided from the sensitivity table."""

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
    losing,
    loss_at,
    matches,
    product_cost,
    ratio_by_loss,
)
from ocrslim.selection.joint_loss import damages, joint_loss, rising
from ocrslim.selection.target_search import Problem, cheapest, search


@dataclass(frozen=True)
class Selection:
    """Which fraction of each group goes, and what that is expected to do.

    Attributes:
        ratios: by group name (state-dict key).
        skipped: why the other layers are left alone, by state-dict key.
        losses: by group name, of each alone, by the sensitivity table.
        saving: the fraction of the target's cost that goes; None without a target.
    """

    ratios: Mapping[str, float]
    skipped: Mapping[str, str]
    losses: Mapping[str, float] = field(default_factory=dict)
    saving: float | None = None

    @property
    def summed_loss(self) -> float:
        """What the losses add up to: the least to be expected of them together."""
        return sum(self.losses.values())

    @property
    def joint_loss(self) -> float:
        """What they are expected to cause together (`ocrslim.selection.joint_loss`)."""
        losses, ratios = (np.array([values[name] for name in self.ratios]) for values in (self.losses, self.ratios))
        return joint_loss(float(damages(losses, ratios).sum()))


def select(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts | None = None,
    power: float = 1.0,
) -> Selection:
    """Choose each group's ratio by `Prune.target`, or else by `Prune.loss_tolerance` as PaddleSlim does.

    Left alone are: groups with a member in the first `skip_first` blocks, names that match `skip`,
    groups that the table does not hold, and groups that lose more than `skip_loss` at `skip_ratio`.
    What only reads a group's channels keeps its own whether they go or not, and counts for neither skip.

    Args:
        table: {state-dict key of the group: {ratio: loss}}.
        architecture: the `Architecture` section, for the public names that patterns match.
        cost: what the target counts; needed for `latency` alone, which is measured.
        power: of the layers' damages (`joint_loss.damages`), whose sum the plan for a target makes least: 1 where they
            reinforce one another, 2 where they are independent.

    Raises:
        ConfigError: `Prune.skip` names a layer that does not exist.
        PlanError: the target cannot be reached; says how far one gets and what to relax.
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
    counts = _by_target(graph, table, options, architecture, cost, power)
    ratios = {name: count / graph.groups[name].size for name, count in zip(graph.groups, counts.tolist()) if count}
    for group in candidates:
        if group.name not in ratios:
            skipped[group.name] = f"Prune.target {kind} {fraction:g} is met at less loss without it"
    full, left = cost(np.stack([np.zeros_like(counts), counts]))
    return Selection(ratios, skipped, _losses(graph, table, ratios), float(1 - left / full))


def _reasons(
    graph: ChannelGraph, table: Sensitivities, options: PruneOptions, architecture: Mapping[str, Any]
) -> dict[str, str]:
    """Why groups are left alone, by name."""
    blocks = {layer.key: layer.block for layer in graph.layers}
    found = {
        name: _skip_reason(group, table.get(name, {}), options, architecture, blocks)
        for name, group in graph.groups.items()
    }
    return {name: reason for name, reason in found.items() if reason}


def _by_tolerance(
    candidates: Iterable[Group], table: Sensitivities, options: PruneOptions, skipped: dict[str, str]
) -> dict[str, float]:
    """The ratio that each layer alone may lose; enters in `skipped` why there is none."""
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
        losses[name] = loss_at(rising(table[name], size), round(size * ratio))
    return losses


def _by_target(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts,
    power: float,
) -> np.ndarray:
    """Units that go from each group, int [groups].

    Raises:
        PlanError: the target cannot be reached.
    """
    ((kind, fraction),) = (options.target or {}).items()
    full = float(cost(np.zeros((1, len(graph.groups)), dtype=np.int64))[0])
    problem = _problem(graph, table, options, architecture, cost, power)
    picks = search(problem, (1 - fraction) * full)
    if picks is not None:
        return problem.counts(picks)

    def most(**changes: Any) -> float:
        eased = _problem(graph, table, options.model_copy(update=changes), architecture, cost)
        return 1 - eased.total(cheapest(eased)) / full

    raise PlanError(_unreachable(kind, fraction, options, most))


def _unreachable(kind: str, fraction: float, options: PruneOptions, most: Callable[..., float]) -> str:
    """How far one gets with the settings as they are, and with each of them eased alone."""
    now = most()
    eased = {"skip_first": 0, "skip": (), "skip_loss": 1.0, "align": None, "min_channels": 1}
    further = {key: most(**{key: value}) for key, value in eased.items() if getattr(options, key) != value}
    # rounded down, so that asking for what is said to be reachable is
    helps = [f"Prune.{key} {_said(eased[key])}: {_down(far)}" for key, far in further.items() if far > now + 5e-4]
    hint = f", or ease what holds channels back ({'; '.join(helps)})" if helps else ""
    reached = (
        f"Prune.target: {kind} {fraction:g} cannot be reached: at most {_down(now)} of the {kind} can go with these"
    )
    if options.criterion == RECONSTRUCTION:  # knows the error of every count, up to the last channel but one
        return f"{reached} settings; ask for that or less{hint}"
    return (
        f"{reached} settings and the ratios in the sensitivity table; ask for that or less{hint}, or measure larger "
        "ratios"
    )


def _said(value: Any) -> str:
    return {"()": "[]", "None": "off"}.get(str(value), str(value))


def _down(fraction: float) -> str:
    return f"{np.floor(fraction * 1000) / 1000:.3f}"


def _problem(
    graph: ChannelGraph,
    table: Sensitivities,
    options: PruneOptions,
    architecture: Mapping[str, Any],
    cost: CostOfCounts,
    power: float = 1.0,
) -> Problem:
    """The permitted counts of each group up to the largest measured ratio, and the damage of each."""
    reasons = _reasons(graph, table, options, architecture)
    choices, harm = [], []
    for name, group in graph.groups.items():
        losses = {} if name in reasons else rising(table[name], group.size)
        counts = [0, *(count for count in permitted_counts(group, options) if losses and count <= max(losses))]
        choices.append(np.array(counts))
        alone = np.array([loss_at(losses, count) if count else 0.0 for count in counts])
        harm.append(damages(alone, choices[-1] / group.size) ** power)
    return Problem(choices, harm, cost)


def permitted(ratio: float, group: Group, options: PruneOptions) -> float:
    """The ratio nearest below `ratio` that `Prune.align` and `Prune.min_channels` permit for `group`.

    Both count channels of the layer that names the group: it keeps a multiple of `align`, unless its units
    permit none at all (three channels each, say, and one more that always stays), and not fewer than
    `min_channels`. Units of unequal size count as their mean.
    """
    most = min(group.size - 1, round(group.size * ratio))
    return max((count for count in permitted_counts(group, options) if count <= most), default=0) / group.size


def permitted_counts(group: Group, options: PruneOptions) -> list[int]:
    """How many units may go by `Prune.align` and `Prune.min_channels`, ascending from 1."""
    size, width, align = group.master.size, group.channels / group.size, options.align or 1
    kept = [size - count * width for count in range(group.size)]
    counts = range(1, group.size)
    aligned = [count for count in counts if kept[count] % align == 0]
    fitting = aligned if aligned or size <= align else counts
    return [count for count in fitting if kept[count] >= options.min_channels]


def _why_none(ratio: float, group: Group, options: PruneOptions) -> str:
    """Which of the settings keeps `permitted` from any ratio up to `ratio`; none, where all are off."""
    asked = f"ratio {ratio:.3f} of {group.master.size} channels is less than"
    if not permitted(ratio, group, options.model_copy(update={"align": None, "min_channels": 1})):
        return f"{asked} one unit: there are {group.size} that can go, and one always stays"
    if not permitted(ratio, group, options.model_copy(update={"align": None})):
        return f"Prune.min_channels {options.min_channels} lets none of {group.master.size} channels go"
    if not permitted(ratio, group, options.model_copy(update={"min_channels": 1})):
        return f"{asked} a step of Prune.align {options.align}"
    return (
        f"Prune.align {options.align} and Prune.min_channels {options.min_channels} together let none "
        f"of {group.master.size} channels go"
    )


def _skip_reason(
    group: Group,
    losses: Mapping[float, float],
    options: PruneOptions,
    architecture: Mapping[str, Any],
    blocks: Mapping[str, int],
) -> str | None:
    members = losing(group)
    for member in members:
        if 0 < blocks.get(member.key, 0) <= options.skip_first:
            name = to_public(member.key, architecture)
            return f"close to the input: {name} lies in the first {options.skip_first} blocks (Prune.skip_first)"
    for member in members:
        for pattern in options.skip:
            if matches([pattern], member.key, architecture):
                return f"Prune.skip: {pattern!r} matches {to_public(member.key, architecture)}"
    if not losses:
        return "not in the sensitivity table"
    loss = loss_at(losses, options.skip_ratio)
    if loss > options.skip_loss:
        return (
            f"sensitive: loses {loss:.4f} at ratio {options.skip_ratio:g}, "
            f"more than Prune.skip_loss {options.skip_loss:g}"
        )
    return None
