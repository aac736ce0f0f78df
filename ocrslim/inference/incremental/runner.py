"""Variants of one group over a set of images, each image's unchanged part computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrslim.errors import LoweringError
from ocrslim.graph import Group
from ocrslim.inference.compiler.executable import Predictor
from ocrslim.inference.incremental.activation_cache import Fronts
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.partition import PRICE, Division

# The kept values become dearer until they fit: first the middle of the network moves, then all of it.
_PRICES = (PRICE, 10 * PRICE, 100 * PRICE)
# of a map of 0..1: rounding alone reaches 1e-4 where features are large
PROOF_TOLERANCE = 1e-3


class GroupRunner:
    """Runs variants of one group; to be used in one thread."""

    def __init__(self, network: RuntimeNetwork, group: Group | None, fronts: Fronts):
        """
        Args:
            group: None for the network as it is.
            fronts: has the images, and what their variants share.
        """
        self._network = network
        self._fronts = fronts
        self._clock = fronts.clock
        self._division = _choose(network, group, 4 * fronts.inputs.pixels, fronts.memory)
        self._back: Predictor | None = None
        self._keeps: list[np.ndarray | None] = []

    @property
    def cached(self) -> int:
        """Bytes kept of the unpruned network, in memory and in a file."""
        return self._fronts.cached

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
                compare(self._run(self._fronts.of(self._division, image)), expected)

    def __call__(self, index: int) -> np.ndarray:
        """The output for the image at `index`: float32 [1, 1, H, W]."""
        return self._run(self._fronts.sources(self._division, index))

    def close(self) -> None:
        """Free the variant; what is kept of the images serves the next group."""
        self._back = None

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


def compare(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold a map of the runtime against that of the network itself.

    Raises:
        LoweringError: they differ by more than rounding.
    """
    if found.shape != expected.shape:
        raise LoweringError(f"the runtime gives shape {list(found.shape)}, the network {list(expected.shape)}")
    difference = float(np.abs(found - expected).max())
    if not difference <= PROOF_TOLERANCE:
        raise LoweringError(f"the runtime's output is off by {difference:.1e}, more than {PROOF_TOLERANCE:g}")
