"""Variants of one group over a set of images, each image's unchanged part computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Group, Value
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.partition import PRICE, Partition
from ocrslim.inference.incremental.proof import require_equal
from ocrslim.inference.outputs import Output, output_from, parts_of

_TOGETHER = 8 * 48 * 320  # pixels of images that run together: 8 lines of text, which is where more no longer pays
# The kept values become dearer until they fit: first the middle of the network moves, then all of it.
_PRICES = (PRICE, 10 * PRICE, 100 * PRICE)


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
        self._joins = all(_by_image(source.value) for source in self._partition.sources)
        self._keeps: list[np.ndarray | None] = []
        self._proven = False  # that a batch gives what its images give one by one

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
                sources = self._cache.compute(self._partition, variant.proof.image)
                variant.proof.check(self._run(sources))

    def __call__(self, index: int) -> Output:
        """The output for the image at `index`."""
        return self._run(self._cache.sources(self._partition, index))

    def many(self, indices: Sequence[int]) -> Iterator[Output]:
        """Yield the outputs for images, in their order; small ones of one size run together.

        An operator costs some 30 microseconds beside what it computes, which is most of it on the line of a text.
        """
        batch: list[list[np.ndarray]] = []
        size: tuple[int, ...] = ()
        for index in indices:
            sources = self._cache.sources(self._partition, index)
            shape = self._cache.shapes[index]
            room = (len(batch) + 1) * shape[-1] * shape[-2] <= _TOGETHER
            if batch and not (room and shape == size and self._joins):
                yield from self._together(batch)
                batch = []
            batch, size = [*batch, sources], shape
        yield from self._together(batch)

    def _together(self, batch: Sequence[Sequence[np.ndarray]]) -> Iterator[Output]:
        """Yield the outputs of a batch; run one by one where the network does not keep its images apart."""
        outputs: list[Output] = []
        if len(batch) > 1:
            arrays = parts_of(self._run([np.concatenate(one) for one in zip(*batch)]))
            self._joins = all(len(array) == len(batch) for array in arrays)
            outputs = [output_from([array[at : at + 1] for array in arrays]) for at in range(len(batch))]
            if self._joins and not self._proven:
                self._joins = _equal(outputs[0], self._run(batch[0]))
                self._proven = True
        yield from outputs if outputs and self._joins else map(self._run, batch)

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


def _by_image(value: Value) -> bool:
    """Tell whether a value has the images along its first axis: a map, which no shape and no sequence is."""
    return value.rank == 4


def _indices(keep: Sequence[int] | None) -> np.ndarray | None:
    return None if keep is None else np.asarray(keep, dtype=np.int64)


def _equal(found: Output, expected: Output) -> bool:
    try:
        require_equal(found, expected)
    except LoweringError:
        return False
    return True
