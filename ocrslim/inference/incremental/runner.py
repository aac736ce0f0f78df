"""Variants of one group over a set of images, each image's unchanged part computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Group
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.partition import PRICE, Partition
from ocrslim.inference.outputs import Output, difference, output_from, parts_of, shapes_of

# The kept values become dearer until they fit: first the middle of the network moves, then all of it.
_PRICES = (PRICE, 10 * PRICE, 100 * PRICE)
# of a map of 0..1, and of the largest number where that is more: rounding alone reaches 1e-4 where features are large
PROOF_TOLERANCE = 1e-3


class GroupRunner:
    """Runs variants of one group; to be used in one thread."""

    def __init__(self, network: RuntimeNetwork, group: Group | None, cache: ActivationCache):
        """
        Args:
            group: None for the network as it is.
            cache: has the images, and what their variants share.
        """
        self._network = network
        self._cache = cache
        self._clock = cache.clock
        self._partition = _choose(network, group, 4 * cache.inputs.pixels, cache.memory)
        self._suffix: Executable | None = None
        self._keeps: list[np.ndarray | None] = []

    @property
    def cached(self) -> int:
        """Bytes kept of the unpruned network, in memory and in a file."""
        return self._cache.cached

    def load(self, variant: Variant) -> None:
        """Make `variant` the one that `__call__` runs; if it has a proof, compare the two.

        Raises:
            LoweringError: the runtime cannot run it, or computes something else than the network does.
        """
        with self._clock.on("build"):
            self._keeps = [_indices(source.keep(variant.removed)) for source in self._partition.sources]
            self._suffix = self._network.suffix(self._partition, variant) if self._partition.suffix else None
        if variant.proof is not None:
            with self._clock.on("proof"):
                image, expected = variant.proof
                compare(self._run(self._cache.compute(self._partition, image)), expected)

    def __call__(self, index: int) -> Output:
        """The output for the image at `index`."""
        return self._run(self._cache.sources(self._partition, index))

    def close(self) -> None:
        """Free the variant; what is kept of the images serves the next group."""
        self._suffix = None

    def _run(self, sources: Sequence[np.ndarray]) -> Output:
        if self._suffix is None:
            return output_from(sources)
        with self._clock.on("forward"):
            feeds = [s if keep is None else np.take(s, keep, axis=1) for s, keep in zip(sources, self._keeps)]
            return output_from(self._suffix(feeds))


def _choose(network: RuntimeNetwork, group: Group | None, scale: float, share: int) -> Partition:
    """Return the partition that computes least of those whose sources fit into `share` bytes; else the leanest."""
    partitions = [network.split(group, price) for price in (_PRICES if group else (PRICE,))]
    needs = [partition.elements(network.sizes) * scale for partition in partitions]
    fitting = [partition for partition, need in zip(partitions, needs) if need <= share]
    return fitting[0] if fitting else partitions[int(np.argmin(needs))]


def _indices(keep: Sequence[int] | None) -> np.ndarray | None:
    return None if keep is None else np.asarray(keep, dtype=np.int64)


def compare(found: Output, expected: Output) -> None:
    """Compare an output of the runtime with that of the network itself.

    Raises:
        LoweringError: they differ by more than rounding.
    """
    if shapes_of(found) != shapes_of(expected):
        raise LoweringError(f"the runtime gives shapes {shapes_of(found)}, the network {shapes_of(expected)}")
    off = difference(found, expected)
    allowed = PROOF_TOLERANCE * max(1.0, *(float(np.abs(one).max()) for one in parts_of(expected)))
    if not off <= allowed:
        raise LoweringError(f"the runtime's output is off by {off:.1e}, more than {allowed:.1e}")
