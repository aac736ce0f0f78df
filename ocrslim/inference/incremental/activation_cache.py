"""Activations of the unpruned network, kept for each image and carried over from group to group."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ocrslim.inference.incremental.network import Bridge, RuntimeNetwork
from ocrslim.inference.incremental.partition import Partition
from ocrslim.utils import ArrayStore, Clock


class Inputs(Protocol):
    """The network's inputs by index."""

    def image(self, index: int) -> np.ndarray:
        """Float32 [1, 3, H, W]."""
        ...

    @property
    def pixels(self) -> int:
        """Pixels of all of them."""
        ...


class ActivationCache:
    """The sources of one partition for each image; to be used in one thread.

    Computed once, kept in memory up to an allowance and in a file beyond it. When another group's turn comes, its
    sources are computed from those that are kept, where they lead there: of groups in the network's order only
    what lies between two of them is computed.
    """

    def __init__(self, network: RuntimeNetwork, inputs: Inputs, memory: int, folder: Path | None, clock: Clock):
        """
        Args:
            memory: bytes of memory for what is kept.
            folder: for what does not fit there; None for no file.
        """
        self.inputs = inputs
        self.memory = memory
        self.clock = clock
        self.shapes: dict[int, tuple[int, ...]] = {}  # of the images that were read
        self._network = network
        self._store = ArrayStore(memory, folder)
        self._kept: dict[int, Partition] = {}  # what the store has for an image is the sources of
        self._bridges: dict[int, tuple[Partition | None, Bridge | None]] = {}
        self._target: Partition | None = None

    @property
    def cached(self) -> int:
        """Bytes kept, in memory and in the file."""
        return self._store.in_memory + self._store.on_disk

    def sources(self, partition: Partition, index: int) -> list[np.ndarray]:
        """Return the sources of `partition` for the image at `index`, not to be written to."""
        if not partition.prefix:
            return [self._image(index)]
        before = self._kept.get(index)
        if before is partition:
            kept = self._store.get(index)
            return self.compute(partition, self._image(index)) if kept is None else kept
        found = self._carried_over(before, partition, index) or self.compute(partition, self._image(index))
        self._store.put(index, found)
        self._kept[index] = partition
        return found

    def compute(self, partition: Partition, image: np.ndarray) -> list[np.ndarray]:
        """Compute the sources of `partition` for any image; nothing is kept."""
        if not partition.prefix:
            return [image]
        with self.clock.on("front"):
            bridge = self._bridge(None, partition)
            assert bridge is not None
            return bridge([image])

    def _image(self, index: int) -> np.ndarray:
        image = self.inputs.image(index)
        self.shapes[index] = image.shape
        return image

    def _carried_over(self, before: Partition | None, partition: Partition, index: int) -> list[np.ndarray] | None:
        """From what is kept for the image, which is given up; None where that does not lead there."""
        kept = self._store.take(index)
        if before is None or kept is None:
            return None
        with self.clock.on("front"):
            bridge = self._bridge(before, partition)
            return None if bridge is None else bridge(kept)

    def _bridge(self, before: Partition | None, partition: Partition) -> Bridge | None:
        """From the image, or another partition's sources, to those of `partition`; made once for each of them."""
        if self._target is not partition:
            self._bridges.clear()
            self._target = partition
        if id(before) not in self._bridges:  # which lives as long as it stands there
            self._bridges[id(before)] = before, self._network.bridge(before, partition)
        return self._bridges[id(before)][1]
