"""What is kept of the unpruned network for each image, and how it is carried over from group to group."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ocrslim.inference.incremental.network import Bridge, RuntimeNetwork
from ocrslim.inference.incremental.partition import Division
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


class Fronts:
    """The sources of one division for each image; to be used in one thread.

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
        self._network = network
        self._store = ArrayStore(memory, folder)
        self._kept: dict[int, Division] = {}  # what the store has for an image is the sources of
        self._ways: dict[int, tuple[Division | None, Bridge | None]] = {}
        self._target: Division | None = None

    @property
    def cached(self) -> int:
        """Bytes kept, in memory and in the file."""
        return self._store.in_memory + self._store.on_disk

    def sources(self, division: Division, index: int) -> list[np.ndarray]:
        """The sources of `division` for the image at `index`, not to be written to."""
        if not division.front:
            return [self.inputs.image(index)]
        before = self._kept.get(index)
        if before is division:
            kept = self._store.get(index)
            return self.of(division, self.inputs.image(index)) if kept is None else kept
        found = self._carried_over(before, division, index) or self.of(division, self.inputs.image(index))
        self._store.put(index, found)
        self._kept[index] = division
        return found

    def of(self, division: Division, image: np.ndarray) -> list[np.ndarray]:
        """The sources of `division` for any image; nothing is kept."""
        if not division.front:
            return [image]
        with self.clock.on("front"):
            bridge = self._way(None, division)
            assert bridge is not None
            return bridge([image])

    def _carried_over(self, before: Division | None, division: Division, index: int) -> list[np.ndarray] | None:
        """From what is kept for the image, which is given up; None where that does not lead there."""
        kept = self._store.take(index)
        if before is None or kept is None:
            return None
        with self.clock.on("front"):
            bridge = self._way(before, division)
            return None if bridge is None else bridge(kept)

    def _way(self, before: Division | None, division: Division) -> Bridge | None:
        """From the image, or another division's sources, to those of `division`; made once for each of them."""
        if self._target is not division:
            self._ways.clear()
            self._target = division
        if id(before) not in self._ways:  # which lives as long as it stands there
            self._ways[id(before)] = before, self._network.bridge(before, division)
        return self._ways[id(before)][1]
