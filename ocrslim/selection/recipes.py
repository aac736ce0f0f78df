"""Recipes: the ways in which candidate plans for a target are made, as none is the best for all networks and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocrslim.config import Config
from ocrslim.formats import Sensitivities
from ocrslim.pruning import RECONSTRUCTION, ErrorWeights, PrunableNetwork
from ocrslim.sensitivity import TABLE, load_table

# Exponents of the layers' feature errors before they are summed (docs/selection.md): 1 is right for errors in the same
# direction, 2 for independent errors. Refitted layers are nearer to the latter.
EXPONENTS = (1.0, 1.5, 2.0)
_OF_ERRORS = 2.0  # squared errors themselves are summed


@dataclass(frozen=True)
class Recipe:
    """How a plan is chosen.

    Attributes:
        criterion: that chooses the channels of a layer.
        exponent: of the layers' feature errors (`ocrslim.selection.joint_loss`), whose sum is minimised.
        weights: of reconstruction errors; None where a sensitivity table tells the losses.
    """

    criterion: str
    exponent: float
    weights: ErrorWeights | None = None

    @property
    def name(self) -> str:
        """A name for people."""
        if self.weights is None:
            return f"sensitivity table, errors to the power of {self.exponent:g}"
        return f"reconstruction, {self.weights.variance:g} x variance + {self.weights.divergence:g} x divergence"

    def of(self, network: PrunableNetwork) -> PrunableNetwork:
        """Return the network with the criterion and the errors of this recipe."""
        return network.by(self.criterion, self.weights)


def recipes_of(network: PrunableNetwork) -> list[Recipe]:
    """Return the recipes of candidate plans for `Prune.target`, or the one of a plan by `Prune.loss_tolerance`.

    Where the criterion was left open (`auto`), a sensitivity table takes part if there is one.
    """
    prune = network.config.prune
    if prune.target is None:
        return [Recipe(prune.criterion, EXPONENTS[0])]
    has_table = prune.sen_file is not None or table_of(network.config).is_file()
    found = []
    for criterion in (prune.criterion, *(network.others if has_table else ())):
        if criterion == RECONSTRUCTION:
            weights = dict.fromkeys((network.weights, *network.competing))
            found += [Recipe(criterion, _OF_ERRORS, one) for one in weights]
        else:
            found += [Recipe(criterion, exponent) for exponent in EXPONENTS]
    return found


def table_of(config: Config) -> Path:
    """Path of the sensitivity table that ratios are chosen by."""
    return Path(config.prune.sen_file or config.save_model_dir / TABLE)


def losses_of(network: PrunableNetwork) -> Sensitivities:
    """Return the losses that ratios are chosen by, by group: of the sensitivity table, or reconstruction errors.

    Raises:
        ArtifactError: the table is missing, damaged, or of another model.
    """
    if network.by_reconstruction:
        return {name: removal.losses for name, removal in network.removals.items()}
    config = network.config
    architecture, tolerance = config.section("Architecture"), config.prune.loss_tolerance
    return load_table(table_of(config), network.graph, architecture, network.hashes(), tolerance)


def exponents_of(network: PrunableNetwork) -> Sequence[float]:
    """Return the exponents of the candidate plans that one criterion has for a target."""
    return (_OF_ERRORS,) if network.by_reconstruction else EXPONENTS
