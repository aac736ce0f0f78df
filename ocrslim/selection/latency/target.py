"""Plans for a measured latency: chosen by a table of times, timed, and corrected until they are as fast as wished."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ocrslim.formats import Sensitivities
from ocrslim.pruning import ChannelPruner, Cut, Scored
from ocrslim.selection.latency.benchmark import THREADS, Stopwatch
from ocrslim.selection.latency.model import SAMPLES, LatencyCost, LatencyTable, describe_machine, measured_table
from ocrslim.selection.select import Selection, permitted_counts, select
from ocrslim.utils import hash_value, progress_bar

logger = logging.getLogger(__name__)

LATENCY = "latency"
_ALIGN = 8  # of channel counts, where `Prune.align` is empty: oneDNN computes in blocks of 8 or 16
_CORRECTIONS = 4  # of what is asked of the table, where the finished network is faster or slower than predicted
_TURNS = 25  # of a plan and the unpruned network: it is this one's time that counts, not what many have in common
_ENOUGH = 0.01  # of the unpruned time: a plan that takes so much less than wished is near enough


class LatencyGoal:
    """Times of this machine, from its file or measured now, and plans for `Prune.target.latency`."""

    def __init__(self, scored: Scored, pruner: ChannelPruner, table: Sensitivities):
        options = scored.config.prune
        self._options = options.model_copy(update={"align": options.align or _ALIGN})
        self._architecture = scored.config.section("Architecture")
        self._graph, self._pruner, self._table = scored.graph, pruner, table
        self._shape = scored.config.task.nominal_shape
        self._watch = Stopwatch(scored.model, scored.graph, scored.config.task)
        self._times = self._measured()
        self._cost = LatencyCost(scored.graph, self._times)
        logger.info(
            "latency: %d networks timed, described to %.1f %% with output channels in blocks of %d",
            *(len(self._times.samples), 100 * self._cost.error, self._cost.block),
        )

    def reach(self, power: float) -> tuple[Selection, dict[str, float]]:
        """A plan as fast as wished, and milliseconds on one thread: `before`, `predicted` and `measured`.

        Where the finished network is slower or faster than the table predicts, more or less is asked of the table, a
        few times.

        Raises:
            PlanError: the target cannot be reached.
        """
        ((_, fraction),) = (self._options.target or {}).items()
        asked, found = fraction, []
        for _ in range(_CORRECTIONS):
            options = self._options.model_copy(update={"target": {LATENCY: asked}})
            selection = select(self._graph, self._table, options, self._architecture, self._cost, power)
            part = self._part(self._pruner.cuts(selection.ratios))
            found.append((selection, part))
            logger.info("latency: a plan takes %.1f %% less, %.1f %% are wished", 100 * (1 - part), 100 * fraction)
            beyond = (1 - part) - fraction
            if 0 <= beyond <= _ENOUGH:
                break
            asked = min(asked + _ENOUGH / 2 - beyond, (1 + asked) / 2)
        selection, part = _slowest(found, 1 - fraction)
        full, predicted = self._times.full, 1 - (selection.saving or 0.0)
        return selection, {"before": full, "predicted": predicted * full, "measured": part * full}

    def _part(self, cuts: Sequence[Cut]) -> float:
        """Time of what `cuts` leave as part of the unpruned network's; measured once."""
        key = hash_value([[cut.key, cut.axis, list(cut.keep)] for cut in cuts])
        if key not in self._times.plans:
            self._times.plans[key] = self._watch.of_cuts(cuts, _TURNS)[1]
            self._times.save()
        return self._times.plans[key]

    def _measured(self) -> LatencyTable:
        names = [f"{name}: {group}" for name, group in self._graph.groups.items()]
        machine = describe_machine(names, self._shape, THREADS, self._options.align)
        logger.info("latency: %s", LatencyTable(machine).path)
        choices = {name: permitted_counts(group, self._options) for name, group in self._graph.groups.items()}
        with progress_bar(total=SAMPLES, desc="latency", unit="network") as bar:

            def time_of(removed: Mapping[str, int]) -> tuple[float, float]:
                bar.update()
                return self._watch.of_removed(removed)

            return measured_table(machine, choices, time_of)


def _slowest(found: Sequence[tuple[Selection, float]], limit: float) -> tuple[Selection, float]:
    """The slowest of those within `limit`, which loses least; the fastest of all where none is."""
    within = [one for one in found if one[1] <= limit]
    return max(within, key=lambda one: one[1]) if within else min(found, key=lambda one: one[1])
