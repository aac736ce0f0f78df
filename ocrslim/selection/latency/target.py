"""Plans for a target latency: chosen by the latency model, timed, and corrected until they reach the target."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ocrslim.config import Config, PruneOptions
from ocrslim.errors import OcrSlimError
from ocrslim.formats import Sensitivities
from ocrslim.inference import RUNTIMES
from ocrslim.pruning import ChannelPruner, Cut, PrunableNetwork, load_base_network
from ocrslim.selection.latency.benchmark import Stopwatch
from ocrslim.selection.latency.model import SAMPLES, LatencyCost, LatencyTable, describe_machine, measured_table
from ocrslim.selection.select import Selection, permitted_counts, select
from ocrslim.utils import hash_value, progress_bar

logger = logging.getLogger(__name__)

LATENCY = "latency"
_CORRECTIONS = 4  # attempts at most, each with the target corrected by the measured latency
_TURNS = 25  # pairs of runs to time one plan: more than for a sample of the model
_ENOUGH = 0.01  # tolerated saving beyond the target, relative to the unpruned time


class LatencyTarget:
    """The latency model of a runtime on this machine, and plans for `Prune.target.latency`; a context manager."""

    def __init__(self, network: PrunableNetwork, pruner: ChannelPruner, table: Sensitivities, options: PruneOptions):
        """
        Args:
            options: the section `Prune`, with the alignment that is kept.

        Raises:
            OcrSlimError: the runtime cannot run the network.
        """
        self._network, self._options, self._config = network, options, network.config
        self._architecture = network.config.section("Architecture")
        self._graph, self._pruner, self._table = network.graph, pruner, table
        self._watch = Stopwatch(network.model, self._config)
        self._times = self._measured()
        self._cost = LatencyCost(network.graph, self._times)
        self._hint_at_block()
        logger.info(
            "latency: %d networks timed on %s, model error %.1f %% with output channels in blocks of %d",
            *(len(self._times.samples), place_text(self._config), 100 * self._cost.error, self._cost.block),
        )

    def __enter__(self) -> LatencyTarget:
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.__exit__(*exc)

    def _hint_at_block(self) -> None:
        """Say so where the alignment that is set splits the blocks that the runtime computes."""
        runtime = RUNTIMES[self._config.export.runtime]
        if (self._options.align or 1) % runtime.block:
            logger.info(
                "latency: %s computes %d channels at a time, and Prune.align is %d: what a plan saves is hard to "
                "predict (Prune.align=auto)",
                *(runtime.title, runtime.block, self._options.align),
            )

    def plan(self, exponent: float) -> tuple[Selection, dict[str, float]]:
        """Find a plan that reaches the target, and its milliseconds: `before`, `predicted`, `measured`.

        Where the measured latency differs from the predicted one, the target of the search is corrected, a few times.

        Args:
            exponent: of the layers' feature errors, see `select`.

        Raises:
            PlanError: the target cannot be reached.
        """
        ((_, fraction),) = (self._options.target or {}).items()
        asked, found = fraction, []
        for _ in range(_CORRECTIONS):
            options = self._options.model_copy(update={"target": {LATENCY: asked}})
            selection = select(self._graph, self._table, options, self._architecture, self._cost, exponent)
            part = self._relative_time(self._pruner.cuts(selection.ratios))
            found.append((selection, part))
            logger.info("latency: candidate saves %.1f %%, target %.1f %%", 100 * (1 - part), 100 * fraction)
            beyond = (1 - part) - fraction
            if 0 <= beyond <= _ENOUGH:
                break
            asked = min(asked + _ENOUGH / 2 - beyond, (1 + asked) / 2)
        selection, part = _slowest(found, 1 - fraction)
        full, predicted = self._times.full, 1 - (selection.saving or 0.0)
        return selection, {"before": full, "predicted": predicted * full, "measured": part * full}

    def _relative_time(self, cuts: Sequence[Cut]) -> float:
        """Time the network pruned by `cuts` relative to the unpruned one; measured once."""
        key = hash_value([[cut.key, cut.axis, list(cut.keep)] for cut in cuts])
        if key not in self._times.plans:
            self._times.plans[key] = self._watch.of_cuts(cuts, _TURNS)[1]
            self._times.save()
        return self._times.plans[key]

    def _measured(self) -> LatencyTable:
        machine = machine_of(self._network, self._options)
        logger.info("latency: %s", LatencyTable(machine).path)
        choices = {name: permitted_counts(group, self._options) for name, group in self._graph.groups.items()}
        with progress_bar(total=SAMPLES, desc="latency", unit="network") as bar:

            def time_of(removed: Mapping[str, int]) -> tuple[float, float]:
                bar.update()
                return self._watch.of_removed(self._graph, removed)

            return measured_table(machine, choices, time_of)


def require_runtime(config: Config) -> None:
    """Require that a target latency can be measured where the network will run.

    Raises:
        OcrSlimError: the runtime is not installed; with the command that installs it.
    """
    runtime = config.export.runtime
    if LATENCY in (config.prune.target or {}):
        try:
            RUNTIMES[runtime].require()
        except OcrSlimError as error:
            message = f"Export.runtime: {runtime}, which Prune.target.latency is measured on: {error}"
            raise OcrSlimError(message) from None


def require_runnable(config: Config) -> None:
    """Require that a target latency can be measured of this network, by a pass of it where it will run.

    Raises:
        OcrSlimError: the runtime does not start, or does not run the network, or that cannot be loaded or exported.
    """
    if LATENCY in (config.prune.target or {}):
        model = load_base_network(config).model
        with Stopwatch(model, config) as watch:
            watch.require()


def machine_of(network: PrunableNetwork, options: PruneOptions) -> dict[str, Any]:
    """Describe what the latency model of a network depends on; it names the model's file."""
    names = [f"{name}: {group}" for name, group in network.graph.groups.items()]
    return describe_machine(names, network.config, options.align)


def place_text(config: Config) -> str:
    """Describe where a network will run."""
    threads = config.export.threads
    return f"{threads} thread{'s' * (threads > 1)} of {RUNTIMES[config.export.runtime].title}"


def _slowest(found: Sequence[tuple[Selection, float]], limit: float) -> tuple[Selection, float]:
    """Return the slowest within `limit`, which loses least, or the fastest if none is."""
    within = [one for one in found if one[1] <= limit]
    return max(within, key=lambda one: one[1]) if within else min(found, key=lambda one: one[1])
