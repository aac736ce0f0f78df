"""A network to prune: its channel groups, the choice of channels, and the hashes that identify both."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import LabelledSet, scan
from ocrslim.errors import ConfigError
from ocrslim.graph import ChannelGraph, TrainingForward
from ocrslim.models import ImportedNetwork, state_arrays
from ocrslim.pruning.calibration import calibration_inputs, weight_gradients
from ocrslim.pruning.channel_graph import channel_graph, program_channel_graph
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.criteria import AUTO, DEFAULT, RECONSTRUCTION
from ocrslim.pruning.loading import load_base_network
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.refit.reconstruction import ERROR_WEIGHTS, ErrorWeights, Removal, removals
from ocrslim.tasks import Task
from ocrslim.utils import hash_arrays, hash_value

logger = logging.getLogger(__name__)

Inputs = Callable[[], Sequence[np.ndarray]]  # float32 [1, C, H, W] each, all of one size

TAYLOR = "taylor"
_MEASURED = (TAYLOR, RECONSTRUCTION)  # criteria that need training images


@dataclass(frozen=True)
class PrunableNetwork:
    """A network to prune, with everything that the scores of its channels depend on.

    Attributes:
        model: weights loaded.
        graph: its channel groups, costs counted at the task's nominal shape.
        config: with `Prune.criterion` and its settings.
        training: the images for the criteria `taylor` and `reconstruction`; None for the others.
        plan: the plan that the network is pruned by already; None for an unpruned one. Model and graph are those of
            the pruned network.
        weights: of the errors that `reconstruction` orders channels by.
        competing: others that there are candidate plans for.
        others: other criteria that there are candidate plans for.
        inputs: makes the inputs that `reconstruction` calibrates on; None: they are cropped from `training`.
    """

    model: nn.Layer
    graph: ChannelGraph
    config: Config
    training: LabelledSet | None = None
    plan: Plan | None = None
    weights: ErrorWeights = ERROR_WEIGHTS[0]
    competing: tuple[ErrorWeights, ...] = ()
    others: tuple[str, ...] = ()
    inputs: Inputs | None = None

    def channel_pruner(self) -> ChannelPruner:
        """Score the channels; for `taylor` and `reconstruction`, run the network on training images first."""
        options, gradients, scores = self.config.prune, None, None
        if self.training is not None and options.criterion == TAYLOR:
            gradients = weight_gradients(self.model, self.config, self.training)
        elif options.criterion == RECONSTRUCTION:
            scores = {name: removal.scores for name, removal in self.removals.items()}
        return ChannelPruner(
            self.model,
            self.graph,
            options.criterion,
            group_score=options.group_score,
            seed=self.config.seed,
            gradients=gradients,
            scores=scores,
        )

    @property
    def removals(self) -> dict[str, Removal]:
        """For the criterion `reconstruction`, the order of removal for each group, computed at the first access."""
        return self._orders[self.weights]

    @functools.cached_property
    def _orders(self) -> dict[ErrorWeights, dict[str, Removal]]:
        assert self.training is not None, "the criterion is not reconstruction"
        made = self.inputs() if self.inputs else calibration_inputs(self.config, self.training, self.model)
        batch = np.concatenate(made)
        weights = tuple(dict.fromkeys((self.weights, *self.competing)))
        output = self.config.task.output
        return removals(self.model, self.graph, batch, seed=self.config.seed, output=output, weights=weights)

    @property
    def by_reconstruction(self) -> bool:
        """True if plans minimise the reconstruction error, which needs no sensitivity table."""
        return self.config.prune.criterion == RECONSTRUCTION and self.config.prune.target is not None

    def with_target(self, target: Mapping[str, float]) -> PrunableNetwork:
        """Return the network for another `Prune.target`; the orders of removal serve both."""
        other = replace(self, config=self.config.changed({"Prune.target": dict(target)}))
        return other.with_orders_of(self) if self.config.prune.criterion == RECONSTRUCTION else other

    def by(self, criterion: str, weights: ErrorWeights | None = None) -> PrunableNetwork:
        """Return the network with another of its criteria, `weights` being those of `reconstruction`."""
        other = replace(
            self,
            config=self.config.changed({"Prune.criterion": criterion}),
            training=self.training if criterion in _MEASURED else None,
            weights=weights or self.weights,
        )
        return other.with_orders_of(self) if criterion == RECONSTRUCTION else other

    def with_orders_of(self, known: PrunableNetwork) -> PrunableNetwork:
        """Return the network with the orders of removal of another one, which has the same channels."""
        other = replace(self)
        vars(other)["_orders"] = known._orders
        return other

    def hashes(self) -> dict[str, str]:
        """Hash the network and the settings that score channels, by name; a sensitivity table depends on them."""
        options = self.config.prune
        hashes = {
            "weights": hash_arrays(state_arrays(self.model)),
            "architecture": hash_value(self.config.section("Architecture")),
            "channel groups": hash_value({name: str(group) for name, group in self.graph.groups.items()}),
            "criterion": options.criterion,
            "group score": options.group_score,
        }
        if options.criterion in ("random", *_MEASURED):
            hashes["seed"] = str(self.config.seed)
        if self.training is not None:
            hashes["training data"] = self.training.fingerprint()
        if options.criterion == RECONSTRUCTION:
            hashes["calibration"] = hash_value([options.recover_images, self.weights])
        if options.criterion == TAYLOR:
            loader = self.config.section("Train.loader")
            settings = [loader.get(key) for key in ("batch_size_per_card", "shuffle", "drop_last")]
            hashes["calibration"] = hash_value([options.calibration_batches, self.config.section("Loss"), settings])
        return hashes


def load_prunable_network(
    config: Config,
    training: LabelledSet | None = None,
    competing: Sequence[ErrorWeights] = ERROR_WEIGHTS,
    inputs: Inputs | None = None,
) -> PrunableNetwork:
    """Load the network of `config`, which may be pruned already, and trace its groups.

    With `Prune.criterion: auto` its criterion is `reconstruction` where there are a target and images to train on,
    beside that of sensitivity tables; else it is that of tables.

    Args:
        training: the training images, if read already; only `taylor` and `reconstruction` use them.
        competing: weights of errors that there are candidate plans for; () where no plans are scored, for the first of
            `ERROR_WEIGHTS` alone, which is faster.
        inputs: makes the inputs to calibrate on, where they are needed for something else as well.

    Raises:
        ConfigError, DataError: the criterion needs training images, which are missing.
        WeightsError, PlanError: as `load_base_network`.
    """
    others: tuple[str, ...] = ()
    if config.prune.criterion == AUTO:
        others = (DEFAULT,) if config.prune.target and (training or config.get("Train.dataset")) else ()
        config = config.changed({"Prune.criterion": RECONSTRUCTION}) if others else for_table(config)
    if config.prune.criterion not in _MEASURED:
        training = None
    elif training is None:
        by_labels = ("Train", "Train.dataset.label_file_list", "Loss")
        config.require(*(by_labels if config.prune.criterion == TAYLOR else ("Train.dataset",)))
        training = scan(config, "Train").announce()
    network = load_base_network(config)
    graph = model_graph(network.model, config.task, config.tree)
    return PrunableNetwork(
        *(network.model, graph, config, training, network.plan),
        competing=tuple(competing),
        others=others,
        inputs=inputs,
    )


def for_table(config: Config) -> Config:
    """Return the configuration with the criterion of its sensitivity table, which `auto` leaves open."""
    return config.changed({"Prune.criterion": DEFAULT}) if config.prune.criterion == AUTO else config


def model_graph(model: nn.Layer, task: Task, tree: Mapping[str, Any] | None = None) -> ChannelGraph:
    """Trace the channel graph of a network, its costs counted at the task's nominal shape.

    Args:
        tree: the configuration, of which the task makes the labels that the network takes when it trains; without one,
            such a network is analysed as it infers. So it is where the transforms fail, and `training_fault` says how.
    """
    labels, fault = _labels(task, tree)
    step = TrainingForward([task.probe_shape], labels, task.forward)
    if isinstance(model, ImportedNetwork):
        graph = program_channel_graph(model, model.program_at(task.nominal_shape), task.probe_shape, step)
    else:
        graph = channel_graph(model, task.nominal_shape, proof_shapes=[task.probe_shape], training=step)
    return replace(graph, training_fault=fault) if fault else graph


def _labels(task: Task, tree: Mapping[str, Any] | None) -> tuple[Sequence[np.ndarray], str]:
    """Labels to trace the training with, and why there are none: a network can be cut without, but not trained."""
    try:
        return () if tree is None else task.probe_labels(tree), ""
    except ConfigError as error:
        logger.warning("%s; without labels a network that takes them cannot be looked at as it trains", error)
        return (), str(error)
