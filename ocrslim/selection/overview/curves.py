"""The plans that would be chosen at each tolerance and each target, by the code that chooses them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocrslim.config import PruneOptions
from ocrslim.errors import PlanError
from ocrslim.formats import Sensitivities
from ocrslim.pruning import MACS, ChannelPruner, CostOfCounts, PrunableNetwork, measure_cost
from ocrslim.report import PlanCurve, PlanPoint, PlanStep
from ocrslim.selection.alignment import with_block
from ocrslim.selection.latency.model import LatencyCost
from ocrslim.selection.latency.target import LATENCY
from ocrslim.selection.select import Selection, select
from ocrslim.utils import progress_bar

TOLERANCE = "loss_tolerance"
_TOLERANCES = 50  # positions of the slider
_LARGEST_TOLERANCE = 0.1  # of the slider at least
_COARSE, _FINE = 0.1, 0.05  # steps of targets
_SECONDS = 20.0  # of the processor, after which plans are searched for no more targets


@dataclass(frozen=True)
class Chooser:
    """What plans of one network are chosen from.

    Attributes:
        network: the network.
        pruner: chooses its channels.
        table: losses of its layers, or their reconstruction errors.
        exponents: of the candidates for a target (`choose_plan`).
        latency: predicts milliseconds; None where the machine was not measured.
    """

    network: PrunableNetwork
    pruner: ChannelPruner
    table: Sensitivities
    exponents: Sequence[float]
    latency: LatencyCost | None = None

    def tolerance_curve(self) -> PlanCurve:
        """Choose a plan at each of some tolerances, and at `Prune.loss_tolerance`."""
        config, own = self.network.config, self.network.config.prune.loss_tolerance
        most = max(_LARGEST_TOLERANCE, 2 * own)
        tolerances = sorted({*(round(most * i / _TOLERANCES, 6) for i in range(_TOLERANCES + 1)), own})
        options = with_block(config.changed({"Prune.target": None}))
        steps = []
        for tolerance in progress_bar(tolerances, desc="plans by tolerance", unit="plan"):
            selection = self._select(options.model_copy(update={TOLERANCE: tolerance}))
            steps.append(PlanStep(at=tolerance, plans=[self._point(selection)]))
        run = own if config.prune.target is None else None
        return PlanCurve(by=TOLERANCE, run=run, align=options.align, steps=steps)

    def target_curve(self) -> PlanCurve:
        """Choose the candidate plans at some targets up to the last that can be reached, the run's own among them.

        A target latency that is asked for is corrected by measurements; these plans are not.
        """
        config = self.network.config
        target = config.prune.target or {}
        if LATENCY in target and self.latency is None:  # of a plan that another machine has chosen
            target = {}
        kind, own = next(iter(target), MACS), next(iter(target.values()), None)
        options = with_block(config.changed({"Prune.target": {kind: own or _COARSE}}))
        steps: dict[float, PlanStep] = {}
        begun, most = time.process_time(), 1.0
        with progress_bar(desc="plans by target", unit="target") as bar:
            for fraction in _targets(own):
                late = time.process_time() - begun > _SECONDS and fraction != own
                if late or fraction > most:
                    continue
                plans = self._candidates(options.model_copy(update={"target": {kind: fraction}}))
                if plans:
                    steps[fraction] = PlanStep(at=fraction, plans=plans)
                    bar.update()
                else:
                    most = fraction
        return PlanCurve(by=kind, run=own, align=options.align, steps=[steps[fraction] for fraction in sorted(steps)])

    def unpruned(self) -> PlanPoint:
        """Describe the network without any pruning."""
        return self._point(Selection({}, {}))

    def _candidates(self, options: PruneOptions) -> list[PlanPoint]:
        """Choose the distinct candidates for a target; none where it cannot be reached."""
        (kind,) = options.target or {}
        cost = self.latency if kind == LATENCY else None
        found: dict[tuple[int, ...], PlanPoint] = {}
        for exponent in self.exponents:
            try:
                point = self._point(self._select(options, cost, exponent))
            except PlanError:
                return []
            found.setdefault(tuple(point.removed), point)
        return list(found.values())

    def _select(self, options: PruneOptions, cost: CostOfCounts | None = None, exponent: float = 1.0) -> Selection:
        architecture = self.network.config.section("Architecture")
        return select(self.network.graph, self.table, options, architecture, cost, exponent)

    def _point(self, selection: Selection) -> PlanPoint:
        """Describe a plan by its channels, losses and costs."""
        graph, ratios = self.network.graph, selection.ratios
        cost = measure_cost(graph, self.pruner.cuts(ratios))
        milliseconds = None
        if self.latency is not None:
            milliseconds = float(self.latency(removed_units(self.network, selection))[0])
        return PlanPoint(
            removed=[round(group.channels * ratios.get(name, 0.0)) for name, group in graph.groups.items()],
            loss=selection.summed_loss,
            joint=None if self.network.by_reconstruction else selection.joint_loss,
            macs=cost.macs,
            params=cost.params,
            ms=milliseconds,
        )


def removed_units(network: PrunableNetwork, selection: Selection) -> np.ndarray:
    """Return the removed units of each group, int [1, groups]."""
    groups = network.graph.groups.items()
    return np.array([[round(group.size * selection.ratios.get(name, 0.0)) for name, group in groups]])


def _targets(own: float | None) -> list[float]:
    """List the targets in the order of their worth: the run's own, a coarse grid upwards, what lies between."""
    coarse, fine = ([round(step * i, 6) for i in range(1, round(1 / step))] for step in (_COARSE, _FINE))
    return list(dict.fromkeys([*([own] if own is not None else []), *coarse, *fine]))
