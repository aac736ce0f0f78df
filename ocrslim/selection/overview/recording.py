"""Writes `plans.json` and `costs.json` beside the checkpoint, which `ocrslim report` reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ocrslim.errors import ArtifactError
from ocrslim.models import to_public
from ocrslim.pruning import PrunableNetwork
from ocrslim.report import COSTS, PLANS, Candidate, NetworkCost, PlannedLayer, Plans, read_run_file
from ocrslim.selection.alignment import with_block
from ocrslim.selection.chooser import Choice
from ocrslim.selection.latency.model import SAMPLES, LatencyCost, load_table
from ocrslim.selection.latency.target import machine_of, place_text
from ocrslim.selection.overview.curves import Chooser
from ocrslim.selection.overview.layer_costs import costs_of
from ocrslim.selection.recipes import exponents_of, losses_of
from ocrslim.utils import hash_value, write_json

logger = logging.getLogger(__name__)


def record_choice(
    network: PrunableNetwork,
    choice: Choice,
    folder: Path,
    unpruned: float | None = None,
    first: Mapping[str, int] | None = None,
) -> None:
    """Write both files; the plans only where they are not there yet, as they take a while.

    Args:
        network: before pruning.
        choice: the plan that it will be pruned by.
        folder: of the run.
        unpruned: score of the unpruned network, where no sensitivity table tells.
        first: `macs_before` and `params_before` of the first of several rounds.

    Raises:
        ArtifactError: a file cannot be written.
    """
    network = choice.recipe.of(network)
    latency = _latency(network)
    costs = costs_of(network, choice, latency, unpruned, first)
    write_json(folder / COSTS, costs.model_dump(by_alias=True))
    request = hash_value([choice.plan.hash(), dict(choice.plan.origin), network.config.section("Prune")])
    if _recorded(folder / PLANS) == [request, latency is not None]:
        return
    try:
        plans = _plans(network, choice, latency, request)
    except ArtifactError as fault:  # of a plan that was given, the table may be gone
        logger.warning("%s is not written, so that a report will lack the plans: %s", folder / PLANS, fault)
    else:
        write_json(folder / PLANS, plans.model_dump(by_alias=True))


def _plans(network: PrunableNetwork, choice: Choice, latency: LatencyCost | None, request: str) -> Plans:
    config, graph = network.config, network.graph
    architecture = config.section("Architecture")
    chooser = Chooser(network, network.channel_pruner(), losses_of(network), exponents_of(network), latency)
    curves = [chooser.target_curve()]
    if not network.by_reconstruction:
        curves.insert(0, chooser.tolerance_curve())
    whole = chooser.unpruned()
    return Plans(
        request=request,
        errors=network.by_reconstruction,
        recipe=choice.recipe.name,
        candidates=[Candidate(**asdict(candidate)) for candidate in choice.candidates],
        refitted=config.prune.recover,
        rounds=config.prune.rounds,
        size=list(config.task.nominal_shape[2:]),
        layers=[
            PlannedLayer(name=to_public(name, architecture), channels=group.master.size)
            for name, group in graph.groups.items()
        ],
        before=NetworkCost(macs=whole.macs, params=whole.params, ms=whole.ms),
        place=place_text(config) if latency is not None else None,
        curves=curves,
    )


def _latency(network: PrunableNetwork) -> LatencyCost | None:
    """Return the latency model of this machine, if it was measured for this network; nothing is measured here."""
    table = load_table(machine_of(network, with_block(network.config)))
    return LatencyCost(network.graph, table) if table is not None and len(table.samples) == SAMPLES else None


def _recorded(path: Path) -> list[object]:
    """Return what the plans there were made for; nothing where there are none, or they are damaged."""
    try:
        plans = read_run_file(path, Plans, "ocrslim prune")
    except ArtifactError as fault:
        logger.warning("%s: made again", fault)
        return []
    return [] if plans is None else [plans.request, plans.place is not None]
