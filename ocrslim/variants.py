"""Two ways to run the variants of a network over the evaluation images: the runtime, and dygraph, the reference."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from paddle import nn

from ocrslim.data import EvalSet
from ocrslim.engines import DygraphEngine
from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.trace import traced
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.pruners import ChannelPruner
from ocrslim.pruning.surgery import cut, named_tensors, pruned
from ocrslim.runtime.runner import Clock, GroupRunner
from ocrslim.runtime.variants import RuntimeNetwork, Variant
from ocrslim.weights import state_arrays

_FREE_SIZE = (-1, 3, -1, -1)
_PROOF_SIDE = 160
_STRIDE = 32


class Runner(Protocol):
    """Runs variants of one group over the images, in one thread."""

    def load(self, variant: Any) -> None:
        """Make `variant` the one that runs."""

    def __call__(self, index: int) -> np.ndarray:
        """The shrink map of the image at `index`, float32 [1, 1, H, W]."""
        ...

    def close(self) -> None:
        """Free what it holds."""

    @property
    def cached(self) -> int:
        """Bytes that it keeps."""
        ...


class Variants(Protocol):
    """A network and its pruned variants.

    Attributes:
        name: what runs them.
        threads: how many runners may work at a time.
    """

    name: str
    threads: int

    def prove(self) -> None:
        """Make sure that it computes what the network does; raises `LoweringError`."""

    def variant(self, group: str, ratio: float) -> Any:
        """What a runner loads; to be called in the main thread."""

    def runner(self, group: str | None, clock: Clock) -> Runner:
        """A runner for one group, or for the unpruned network; to be called in the thread that uses it."""
        ...


class RuntimeVariants:
    """Paddle Inference with oneDNN, what does not change computed once, one thread for each core.

    The first variant of each group is held against the network itself on a cut-out of the first image.
    """

    name = "paddle_inference_onednn"

    def __init__(
        self,
        model: nn.Layer,
        graph: ChannelGraph,
        images: EvalSet,
        pruner: Callable[[], ChannelPruner],
        *,
        threads: int,
        memory: int,
        folder: Path | None,
        use_gpu: bool = False,
    ):
        """
        Args:
            pruner: scores the channels; called once, when the first variant is made.
            memory: bytes for what the runners keep, all together.
            folder: for what does not fit there.

        Raises:
            LoweringError, GraphError: the network cannot run there.
        """
        self.threads = threads
        self._model = model
        self._graph = graph
        self._images = images
        self._make_pruner = pruner
        self._pruner: ChannelPruner | None = None
        self._network = RuntimeNetwork(traced(model, [_FREE_SIZE], training=False), state_arrays(model), use_gpu)
        self._share = memory // threads
        self._folder = folder
        self._proven: set[str] = set()
        self._conv_keys = {
            f"{name}.weight": layer for name, layer in model.named_sublayers() if hasattr(layer, "_groups")
        }

    def variant(self, group: str, ratio: float) -> Variant:
        """Cut the network, and read off what differs."""
        if self._pruner is None:
            self._pruner = self._make_pruner()
        removed = frozenset(self._pruner.removed(group, ratio))
        cuts = self._pruner.cuts({group: ratio})
        changed = {one.key for one in cuts}
        backup = cut(self._model, cuts)
        try:
            arrays = {key: tensor.numpy() for key, tensor in named_tensors(self._model) if key in changed}
            conv_groups = {key: layer._groups for key, layer in self._conv_keys.items() if key in changed}
            proof = None if group in self._proven else self._proof()
        finally:
            backup.restore()
        self._proven.add(group)
        return Variant(self._graph.groups[group], removed, arrays, conv_groups, proof)

    def runner(self, group: str | None, clock: Clock) -> GroupRunner:
        """A runner; the unpruned network's is proven at once."""
        chosen = None if group is None else self._graph.groups[group]
        runner = GroupRunner(self._network, chosen, self._images, self._share, self._folder, clock)
        if chosen is None:
            runner.load(Variant())
        return runner

    def prove(self) -> None:
        """Hold the unpruned network against itself.

        Raises:
            LoweringError: the runtime computes something else.
        """
        GroupRunner(self._network, None, self._images, 0, None, Clock()).load(Variant(proof=self._proof()))

    def _proof(self) -> tuple[np.ndarray, np.ndarray]:
        image = self._cut_out()
        return image, DygraphEngine(self._model)(image)

    def _cut_out(self) -> np.ndarray:
        """A part of the first image with text in its middle."""
        image, item = self._images.image(0), self._images[0]
        height, width = image.shape[2:]
        centre = item.polys[0].mean(axis=0) * item.shape[0, [3, 2]] if item.polys else np.array([width, height]) / 2
        top, bottom = _span(centre[1], height)
        left, right = _span(centre[0], width)
        return np.ascontiguousarray(image[:, :, top:bottom, left:right])


def _span(centre: float, size: int) -> tuple[int, int]:
    side = min(_PROOF_SIDE, max(_STRIDE, size // _STRIDE * _STRIDE), size)
    start = int(min(max(0, centre - side / 2), size - side))
    return start, start + side


class DygraphVariants:
    """The network itself, cut and put back for each variant: the reference, and slow."""

    name = "dygraph"
    threads = 1

    def __init__(
        self,
        model: nn.Layer,
        architecture: Mapping[str, Any],
        images: EvalSet,
        pruner: Callable[[], ChannelPruner],
    ):
        self._model = model
        self._architecture = architecture
        self._images = images
        self._make_pruner = pruner
        self._pruner: ChannelPruner | None = None

    def prove(self) -> None:
        """It is the network."""

    def variant(self, group: str, ratio: float) -> Plan:
        """The plan that makes it."""
        if self._pruner is None:
            self._pruner = self._make_pruner()
        return Plan(self._architecture, self._pruner.cuts({group: ratio}))

    def runner(self, group: str | None, clock: Clock) -> DygraphRunner:
        """A runner, for one group after the other."""
        return DygraphRunner(self._model, self._images, clock)


class DygraphRunner:
    """Runs the network as the loaded plan cuts it; `close` puts it back."""

    cached = 0

    def __init__(self, model: nn.Layer, images: EvalSet, clock: Clock):
        self._model = model
        self._engine = DygraphEngine(model)
        self._images = images
        self._clock = clock
        self._cut = contextlib.ExitStack()

    def load(self, variant: Plan) -> None:
        """Cut the network by a plan."""
        with self._clock.on("build"):
            self._cut.close()
            self._cut.enter_context(pruned(self._model, variant))

    def __call__(self, index: int) -> np.ndarray:
        """The shrink map of the image at `index`."""
        image = self._images.image(index)
        with self._clock.on("forward"):
            return self._engine(image)

    def close(self) -> None:
        """Put the network back."""
        self._cut.close()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
