"""Variants of one group over a set of images, each image's unchanged part computed once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph.groups import Group
from ocrslim.runtime.division import PRICE, Division
from ocrslim.runtime.predictor import Predictor
from ocrslim.runtime.variants import RuntimeNetwork, Variant
from ocrslim.store import ArrayStore

# The kept values become dearer until they fit: first the middle of the network moves, then all of it.
_PRICES = (PRICE, 10 * PRICE, 100 * PRICE)
# of a map of 0..1: rounding alone reaches 1e-4 where features are large
PROOF_TOLERANCE = 1e-3


class Inputs(Protocol):
    """The network's inputs by index."""

    def image(self, index: int) -> np.ndarray:
        """Float32 [1, 3, H, W]."""
        ...

    @property
    def pixels(self) -> int:
        """Pixels of all of them."""
        ...


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Charge the block to `what`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - start


class GroupRunner:
    """Runs variants of one group; to be used in one thread.

    What the variants share is kept in memory for each image, up to the allowance, and in a file beyond it.
    """

    def __init__(
        self,
        network: RuntimeNetwork,
        group: Group | None,
        inputs: Inputs,
        share: int,
        folder: Path | None,
        clock: Clock,
    ):
        """
        Args:
            group: None for the network as it is.
            share: bytes of memory for what is kept.
            folder: for what does not fit there.
        """
        self._network = network
        self._inputs = inputs
        self._clock = clock
        self._division = _choose(network, group, 4 * inputs.pixels, share)
        self._store = ArrayStore(share, folder)
        self._front: Predictor | None = None
        self._back: Predictor | None = None
        self._keeps: list[np.ndarray | None] = []

    @property
    def cached(self) -> int:
        """Bytes kept, in memory and in the file."""
        return self._store.in_memory + self._store.on_disk

    def load(self, variant: Variant) -> None:
        """Make `variant` the one that `__call__` runs; where it brings a proof, hold it against that.

        Raises:
            LoweringError: the runtime cannot run it, or computes something else than the network does.
        """
        with self._clock.on("build"):
            self._keeps = [_indices(source.keep(variant.removed)) for source in self._division.sources]
            self._back = self._network.back(self._division, variant) if self._division.back else None
        if variant.proof is not None:
            with self._clock.on("proof"):
                image, expected = variant.proof
                _compare(self._run(self._sources_of(image)), expected)

    def __call__(self, index: int) -> np.ndarray:
        """The output for the image at `index`: float32 [1, 1, H, W]."""
        sources = self._store.get(index)
        if sources is None:
            sources = self._sources_of(self._inputs.image(index))
            if self._division.front:
                self._store.put(index, sources)
        return self._run(sources)

    def close(self) -> None:
        """Give back memory and file."""
        self._store.clear()

    def _sources_of(self, image: np.ndarray) -> list[np.ndarray]:
        if not self._division.front:
            return [image]
        with self._clock.on("front"):
            if self._front is None:
                self._front = self._network.front(self._division)
            return self._front([image])

    def _run(self, sources: Sequence[np.ndarray]) -> np.ndarray:
        if self._back is None:
            return sources[0]
        with self._clock.on("forward"):
            feeds = [s if keep is None else np.take(s, keep, axis=1) for s, keep in zip(sources, self._keeps)]
            return self._back(feeds)[0]


def _choose(network: RuntimeNetwork, group: Group | None, scale: float, share: int) -> Division:
    """The division that computes least of those whose sources fit into `share` bytes; else the leanest."""
    divisions = [network.divide(group, price) for price in (_PRICES if group else (PRICE,))]
    needs = [division.elements(network.sizes) * scale for division in divisions]
    fitting = [division for division, need in zip(divisions, needs) if need <= share]
    return fitting[0] if fitting else divisions[int(np.argmin(needs))]


def _indices(keep: Sequence[int] | None) -> np.ndarray | None:
    return None if keep is None else np.asarray(keep, dtype=np.int64)


def _compare(found: np.ndarray, expected: np.ndarray) -> None:
    """
    Raises:
        LoweringError: they differ by more than rounding.
    """
    if found.shape != expected.shape:
        raise LoweringError(f"the runtime gives shape {list(found.shape)}, the network {list(expected.shape)}")
    difference = float(np.abs(found - expected).max())
    if not difference <= PROOF_TOLERANCE:
        raise LoweringError(f"the runtime's output is off by {difference:.1e}, more than {PROOF_TOLERANCE:g}")
