"""Variants of a network for the two ways to run them: the runtime, and dygraph, which is the reference."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from paddle import nn

from ocrslim.data import EvalSet
from ocrslim.graph import ChannelGraph
from ocrslim.inference import DygraphEngine, Output, Proof, Variant, proof_of
from ocrslim.pruning import ChannelPruner, Cut, Plan, cut, cut_arrays, pruned
from ocrslim.tasks import Task
from ocrslim.utils import Clock

_REMEMBERED = 16  # variants: adaptive mode comes back to a point, which it measures in steps


class Variants(Protocol):
    """The pruned variants of a network, in the form that its runners load."""

    def variant(self, group: str | None, ratio: float) -> Any:
        """The variant with the fraction `ratio` of a group removed; the unpruned network for None."""
        ...


class RuntimeVariants:
    """For Paddle Inference with oneDNN, what does not change computed once.

    The unpruned network and the first variant of each group are held against the network itself on a cut-out
    of the first image.
    """

    def __init__(
        self,
        model: nn.Layer,
        graph: ChannelGraph,
        images: EvalSet,
        pruner: Callable[[], ChannelPruner],
        task: Task,
    ):
        """`pruner` scores the channels; called once, when the first variant is made."""
        self._model, self._task = model, task
        self._graph = graph
        self._images = images
        self._pruner = functools.cache(pruner)
        self._checked: set[str | None] = set()
        self.variant = functools.lru_cache(_REMEMBERED)(self._variant)

    def _variant(self, group: str | None, ratio: float) -> Variant:
        """Make what differs of the network, which is itself cut for the proof alone."""
        if group is None:
            return Variant(proof=self._proof(None, ()))
        removed = frozenset(self._pruner().removed(group, ratio))
        cuts = self._pruner().cuts({group: ratio})
        arrays, conv_groups = cut_arrays(self._model, cuts)
        return Variant(self._graph.groups[group], removed, arrays, conv_groups, self._proof(group, cuts))

    def _proof(self, group: str | None, cuts: Sequence[Cut]) -> Proof | None:
        """Run the network with `cuts`; once for each group."""
        if group in self._checked:
            return None
        self._checked.add(group)
        image = self._task.part(self._images.image(0), self._images[0])
        backup = cut(self._model, cuts)
        try:
            return proof_of(DygraphEngine(self._model), image)
        finally:
            backup.restore()


class DygraphVariants:
    """For the network itself: plans that it is cut by, and put back."""

    def __init__(self, architecture: Mapping[str, Any], pruner: Callable[[], ChannelPruner]):
        self._architecture = architecture
        self._pruner = functools.cache(pruner)

    def variant(self, group: str | None, ratio: float) -> Plan:
        """The plan that makes it."""
        return Plan(self._architecture, () if group is None else self._pruner().cuts({group: ratio}))


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

    def many(self, indices: Sequence[int]) -> Iterator[Output]:
        """Yield the network's outputs for the images at `indices`."""
        yield from map(self, indices)

    def __call__(self, index: int) -> Output:
        """The network's output for the image at `index`."""
        image = self._images.image(index)
        with self._clock.on("forward"):
            return self._engine(image)

    def close(self) -> None:
        """Put the network back."""
        self._cut.close()
