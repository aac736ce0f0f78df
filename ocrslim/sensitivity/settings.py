"""The problem and the settings of an analysis, and what a run used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.graph import ChannelGraph
from ocrslim.models import to_public
from ocrslim.pruning import ChannelPruner
from ocrslim.sensitivity.results.identity import Identity
from ocrslim.sensitivity.results.table import EXACT
from ocrslim.sensitivity.sharding import Share, cores
from ocrslim.tasks import Task

DYGRAPH, ONEDNN = "dygraph", "paddle_inference_onednn"
_ORDER_SEED = 0
_FIXED_COST = 0.3  # finding and comparing boxes, building variants: in whole forward passes


def measuring_order(images: int) -> list[int]:
    """Indices of the images in the order in which they are measured: a random one, so that the first are a sample."""
    return np.random.default_rng(_ORDER_SEED).permutation(images).tolist()


@dataclass(frozen=True)
class Problem:
    """The network and the data of an analysis, and the points that are wanted: all that a loss depends on.

    Attributes:
        model: unpruned, weights loaded; unchanged when the analysis ends.
        graph: its channel groups.
        labelled: the evaluation images.
        config: with their transforms, the post-processing and the metric.
        pruner: scores the channels; not called before everything else is checked.
        hashes: identify weights, architecture, data and settings.
        groups: names of the groups to analyse (state-dict keys).
        ratios: fractions of channels to remove, each in 0..1.
    """

    model: nn.Layer
    graph: ChannelGraph
    labelled: LabelledSet
    config: Config
    pruner: Callable[[], ChannelPruner]
    hashes: Mapping[str, str]
    groups: Sequence[str]
    ratios: Sequence[float]

    @property
    def architecture(self) -> dict[str, Any]:
        """The section `Architecture`."""
        return self.config.section("Architecture")

    @property
    def metric(self) -> str:
        """The score that the losses are of."""
        return self.config.main_indicator

    @property
    def task(self) -> Task:
        """The task of the network."""
        return self.config.task

    @cached_property
    def layers(self) -> dict[str, str]:
        """The groups to analyse by their public names."""
        return {self.public(group): group for group in self.groups}

    @property
    def order(self) -> list[int]:
        """Indices of the images in the order in which they are measured."""
        return measuring_order(len(self.labelled))

    def identity(self) -> Identity:
        """The identity that measurements of this problem are marked with."""
        return Identity(self.graph, self.architecture, self.task, self.metric, len(self.labelled), self.hashes)

    def macs_share(self, group: str) -> float:
        """Share (0..1) of the network's MACs that makes the channels of a group."""
        return self.graph.macs_of(self.graph.groups[group]) / max(1, self.graph.macs)

    def cost(self, group: str) -> float:
        """Time to measure a point of a group, as a fraction of the time where nothing is reused.

        It is spent in the layers behind the one that names the group, and on work that does not depend on where the
        group lies (measured).
        """
        keys = [layer.key for layer in self.graph.layers]
        at = keys.index(group) + 1 if group in keys else 0
        behind = sum(layer.macs for layer in self.graph.layers[at:]) / max(1, self.graph.macs)
        return (behind + _FIXED_COST) / (1 + _FIXED_COST)

    def public(self, group: str) -> str:
        """The name of a group in files and on screen."""
        return to_public(group, self.architecture)


@dataclass(frozen=True)
class Settings:
    """The way to measure; no loss depends on it.

    Attributes:
        mode: `EXACT`, every point on all images; or `ADAPTIVE`, what is needed to know each layer's ratio.
        tolerance: the loss that ratios are wanted for.
        engine: "auto", the fast runtime where it can run the network; or "dygraph".
        workers: processes; None for one a core.
        memory: bytes for decoded images and for what is kept of the unpruned network.
        minutes: time to spend; None for as long as it takes.
        use_gpu: run on the GPU.
        share: the part of the points that is measured here; in adaptive mode, of the layers.
    """

    mode: str = EXACT
    tolerance: float = 0.02
    engine: str = "auto"
    workers: int | None = None
    memory: int = 1 << 30
    minutes: float | None = None
    use_gpu: bool = False
    share: Share = field(default_factory=Share)

    @property
    def processes(self) -> int:
        """Number of worker processes here."""
        return 1 if self.use_gpu else self.workers or max(1, cores() // self.share.on_machine)


@dataclass(frozen=True)
class Usage:
    """The time and memory that a run used.

    Attributes:
        engine: ran the network; empty where nothing was left to measure.
        seconds: of all workers, by activity.
        cached: most bytes kept at a time, of images and of the unpruned network.
    """

    engine: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    cached: tuple[int, int] = (0, 0)
