"""From the sensitivity table to a plan: chosen, printed with what it is expected to cost and to save."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ocrslim import loss_table, report
from ocrslim.artifacts import hash_value
from ocrslim.config import Config
from ocrslim.errors import PlanError
from ocrslim.models.names import to_public
from ocrslim.progress import progress_bar
from ocrslim.pruning.cost import Cost, measure_cost
from ocrslim.pruning.latency import LatencyCost, LatencyTable, describe_machine, measured_table
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.select import Selection, select, select_counts
from ocrslim.scoring import NOMINAL_SHAPE, Scored, load_scored
from ocrslim.stopwatch import THREADS, Stopwatch

logger = logging.getLogger(__name__)

LATENCY = "latency"

_ALIGN = 8  # of channel counts for a latency, where `Prune.align` is empty: oneDNN computes in blocks of 8 or 16
_OFF = 0.1  # difference of prediction and measurement, of the unpruned time, that is worth a word
_ALARMING = 0.2  # a loss before training from which on a word of warning is due


@dataclass(frozen=True)
class Choice:
    """A plan and what is known of it before it is applied.

    Attributes:
        before, after: costs of the network and of the pruned one, by their shapes.
        latency: milliseconds on one thread, where they are the target: `before`, `predicted`, and `measured`.
    """

    plan: Plan
    selection: Selection
    before: Cost
    after: Cost
    latency: Mapping[str, float] = field(default_factory=dict)

    def left(self, kind: str) -> float:
        """The fraction that is left of the MACs, the parameters or the measured latency."""
        if kind == LATENCY:
            return self.latency["measured"] / self.latency["before"]
        return float(getattr(self.after, kind) / getattr(self.before, kind))

    def to_json(self) -> dict[str, Any]:
        """Ratios, single losses and reasons by public name, predicted losses, MACs and parameters before and after."""
        chosen, architecture = self.selection, self.plan.architecture

        def public(values: Any) -> dict[str, Any]:
            return {to_public(name, architecture): value for name, value in values.items()}

        return {
            "ratios": public(chosen.ratios),
            "losses": public(chosen.losses),
            "skipped": public(chosen.skipped),
            "predicted_loss": {"summed": chosen.summed_loss, "joint": chosen.joint_loss},
            "macs": [self.before.macs, self.after.macs],
            "params": [self.before.params, self.after.params],
            **({"latency_ms": dict(self.latency)} if self.latency else {}),
        }


def run_dry(config: Config) -> dict[str, Any]:
    """Choose and print the plan that `prune` would apply; nothing is changed and nothing is written."""
    config.require("Architecture")
    choice = choose_plan(load_scored(config))
    print("\ndry run: nothing was pruned and nothing written", flush=True)
    return {"dry_run": True, **choice.to_json()}


def make_plan(scored: Scored) -> Plan:
    """The plan of `choose_plan`."""
    return choose_plan(scored).plan


def table_of(config: Config) -> Path:
    """The sensitivity table that ratios are chosen by."""
    return Path(config.prune.sen_file or config.save_model_dir / loss_table.TABLE)


def choose_plan(scored: Scored) -> Choice:
    """Choose ratios from `sen.pickle`; print what is pruned, what is left alone and why, the losses and the costs.

    Raises:
        ArtifactError: the table is missing, damaged, or of another model.
        PlanError: nothing is left to prune, or `Prune.target` cannot be reached.
    """
    config, graph = scored.config, scored.graph
    architecture, options = config.section("Architecture"), config.prune
    path = table_of(config)
    hashes = scored.hashes()
    table = loss_table.load_table(path, graph, architecture, hashes, options.loss_tolerance)
    if options.target:
        logger.info("ratios are chosen by Prune.target; Prune.loss_tolerance is not used")
    if options.target and LATENCY in options.target:
        options = replace(options, align=options.align or _ALIGN)
        watch = Stopwatch(scored.model, graph, NOMINAL_SHAPE)
        times = _latency_table(scored, watch, select_counts(graph, table, options, architecture))
        selection = select(graph, table, options, architecture, LatencyCost(graph, times))
    else:
        watch, times = None, None
        selection = select(graph, table, options, architecture)
    print(report.plan_table(graph, selection.ratios, selection.skipped, architecture, selection.losses))
    if not selection.ratios:
        raise PlanError(
            f"{path}: no layer may lose channels, for the reasons listed above: raise Prune.loss_tolerance (now "
            f"{options.loss_tolerance:g}) or Prune.skip_loss where the loss is the reason; lower Prune.skip_first, "
            "Prune.align or Prune.min_channels, or shorten Prune.skip, where those are named"
        )
    cuts = scored.pruner().cuts(selection.ratios)
    origin = {**hashes, "sensitivities": hash_value(table)}
    plan = Plan(architecture, cuts, selection.ratios, selection.skipped, options.criterion, origin)
    latency = {}
    if watch is not None and times is not None and selection.saving is not None:
        _, part = watch.of_cuts(cuts)
        predicted = (1 - selection.saving) * times.full
        latency = {"before": times.full, "predicted": predicted, "measured": part * times.full}
    choice = Choice(plan, selection, measure_cost(graph), measure_cost(graph, cuts), latency)
    _print_prediction(choice)
    return choice


def _latency_table(scored: Scored, watch: Stopwatch, counts: Mapping[str, Sequence[int]]) -> LatencyTable:
    """Times of this machine, from its file or measured now."""
    names = [f"{name}: {group}" for name, group in scored.graph.groups.items()]
    machine = describe_machine(names, NOMINAL_SHAPE, THREADS)
    logger.info("latency: %s", LatencyTable(machine, 0.0).path)
    with progress_bar(desc="latency", unit="variant") as bar:

        def measure(name: str, count: int) -> tuple[float, float]:
            bar.update()
            return watch.of_group(name, count)

        return measured_table(machine, counts, measure)


def _print_prediction(choice: Choice) -> None:
    summed, joint = choice.selection.summed_loss, choice.selection.joint_loss
    before, after = choice.before, choice.after
    print(
        f"\npredicted loss before training: {summed:.4f} if the layers' losses only add up, "
        f"{joint:.4f} if they reinforce one another"
    )
    for what, old, new in (
        ("MACs at 736x1280", before.macs, after.macs),
        ("parameters", before.params, after.params),
    ):
        print(f"{what}: {old:,} -> {new:,}, {1 - new / old:.1%} removed", flush=True)
    if choice.latency:
        full, predicted, measured = (choice.latency[key] for key in ("before", "predicted", "measured"))
        print(
            f"latency at 736x1280, {THREADS} thread: {full:.1f} ms -> {predicted:.1f} ms predicted, "
            f"{1 - predicted / full:.1%} less; {measured:.1f} ms measured, {1 - measured / full:.1%} less"
        )
        if abs(measured - predicted) > _OFF * full:
            logger.warning(
                "latency: prediction and measurement differ by %.0f %% of the unpruned network's time: the table was "
                "measured beside other work; delete the file named above and measure again on an idle machine",
                100 * abs(measured - predicted) / full,
            )
    if joint >= _ALARMING:
        logger.warning(
            "the pruned layers may together lose %.0f %% of the score before training: ask for less, with a lower "
            "Prune.target or Prune.loss_tolerance, or look at the score before training that follows",
            100 * joint,
        )
