"""The network of a compression: the plan that is chosen, cut, refitted and trained."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path

from ocrslim.compression.baseline import Baseline
from ocrslim.compression.choosing import Chooser
from ocrslim.compression.files import costs_of_original
from ocrslim.compression.journal import Advance, Result
from ocrslim.compression.learning import epochs_within, of_length, training_config
from ocrslim.compression.material import Material
from ocrslim.compression.settings import with_target
from ocrslim.config import Config
from ocrslim.pruning import WEIGHTS, Network, load_base_network, load_network
from ocrslim.selection import Choice, prune_and_train

logger = logging.getLogger(__name__)

CHOOSE, PRUNE = "choose", "prune"  # steps
_LATENCY, _LENGTH = "latency", "length"


class Pruned:
    """What becomes of the network."""

    def __init__(self, material: Material, baseline: Baseline):
        self._material, self._baseline = material, baseline
        self._chosen: Choice | None = None

    @functools.cached_property
    def target(self) -> Mapping[str, float] | None:
        """What is pruned of the network; None where nothing is.

        Raises:
            PlanError: it cannot be reached.
        """
        material, asked = self._material, self._material.request.target
        remaining = None if asked is None else self._remaining(asked)

        def work(advance: Advance) -> Result:
            if asked is None:
                return {"target": self._chooser.largest(material.journal, advance)}
            if remaining is not None:
                self._choice(remaining)
            return {"target": remaining}

        found: Mapping[str, float] | None = material.journal.do(CHOOSE, "choosing what to prune", work)["target"]
        return found

    @functools.cached_property
    def checkpoint(self) -> Result:
        """The `weights` of the network, and its `params` and `macs`."""
        target, material = self.target, self._material

        def work(_: Advance) -> Result:
            if target is None:
                weights = str(material.unpruned.weights)
                cost = costs_of_original(Path(weights), material.unpruned)
                return {"weights": weights, "params": cost.params, "macs": cost.macs}
            choice = self._choice(target)
            logger.info("%s", choice.summary)
            config = with_target(material.config, target)
            if material.request.minutes:
                config = self._for_training(config, choice)
            result = prune_and_train(config, choice, chosen_by=self._chooser.network.with_target(target))
            return {"weights": str(result.training.weights), "params": choice.after.params, "macs": choice.after.macs}

        def intact(found: Result) -> bool:
            return target is None or Path(found["weights"]).is_file()

        return material.journal.do(PRUNE, "pruning and refitting", work, intact)

    def network(self) -> Network:
        """Load the network with the weights that it has in the end."""
        config = self._material.config
        if self.target is None:
            return load_base_network(config)
        return load_network(config.changed({WEIGHTS: self.checkpoint["weights"]}))

    @functools.cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self._material.config)

    def _choice(self, target: Mapping[str, float]) -> Choice:
        """Return the plan for the target, chosen once."""
        if self._chosen is None:
            self._chosen = self._chooser.choose(target)
        return self._chosen

    def _remaining(self, asked: Mapping[str, float]) -> Mapping[str, float] | None:
        """Return what is left to prune for a target; of a latency rewriting alone may reach a part, or all of it."""
        if _LATENCY not in asked:
            return asked
        ratio = self._baseline.rewritten_ratio
        logger.info("rewriting alone takes %.0f %% of the time", 100 * ratio)
        fraction = 1 - (1 - asked[_LATENCY]) / ratio
        return {_LATENCY: fraction} if fraction > 0 else None

    def _for_training(self, config: Config, choice: Choice) -> Config:
        """Return the configuration of a training of the minutes asked for."""
        material = self._material
        config = training_config(config, material.labels, material.unpruned.section("Metric"))
        length = material.journal.kept(_LENGTH)
        if length is None:
            length = epochs_within(config, choice, material.request.minutes)
            material.journal.keep(_LENGTH, length)
        return of_length(config, length)
