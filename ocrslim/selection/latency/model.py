"""Latency model of a pruned network: a sum over kinds of work whose rates are measured on this machine.

    ms = rest + sum over kinds of rate x work.

The kinds are the multiply-accumulates of dense, 1x1, transposed and depthwise convolutions, and the numbers that
layers write, which operators between convolutions read and write again. Output channels are rounded up to whole
blocks: oneDNN computes 8 (AVX2) or 16 (AVX-512) at a time, so that 24 take as long as 32. The block size is the one
that fits the samples best. The rates follow by non-negative least squares (Lawson and Hanson, "Solving Least Squares
Problems", 1974, chapter 23) from the times of whole networks pruned at random. Timing layers alone does not work: the
saving of one layer is mostly less than the noise of a measurement, and a search among thousands of plans selects the
layers whose noise looks like a saving.

The samples are stored by machine and runtime, so that they are measured once, in
`$XDG_CACHE_HOME/ocrslim/latency-HASH.json`.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from ocrslim.config import Config
from ocrslim.errors import ArtifactError
from ocrslim.graph import DEPTHWISE, TRANSPOSED, ChannelGraph, Layer
from ocrslim.inference import RUNTIMES
from ocrslim.pruning import MACS, ProductCost, product_cost
from ocrslim.utils import Field, hash_value, processor, read_json, write_json

logger = logging.getLogger(__name__)

SAMPLES = 36  # networks to time: a few for each rate, and more against the noise
BLOCKS = (1, 8, 16)  # output channels that a processor may compute at a time
_SCHEMA = 5
_LEAST = 1e-9  # least valid time
_MOST_UNITS = 1_000_000  # of a group
_ROUNDING = 1e-6  # relative to a block: lengths are means over units, with rounding errors
Removed = Mapping[str, int]  # number of removed units by group


@dataclass
class LatencyTable:
    """Latencies measured on one machine.

    Attributes:
        machine: everything that the times depend on, in readable form; it identifies the table.
        full: milliseconds of the unpruned network.
        samples: removed units, and the time of the pruned network relative to the unpruned one, timed in turns.
        plans: relative times of finished plans, by hash, so that a resumed run chooses the same plan.
    """

    machine: Mapping[str, Any]
    full: float = 0.0
    samples: list[tuple[dict[str, int], float]] = field(default_factory=list)
    plans: dict[str, float] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file that stores the table."""
        return cache_folder() / f"latency-{hash_value(self.machine)[:16]}.json"

    def save(self) -> None:
        """Write the table, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"schema": _SCHEMA, "machine": dict(self.machine), "full_ms": self.full}
        content |= {"samples": self.samples, "plans": self.plans}
        write_json(self.path, content)


class LatencyCost:
    """Predicted milliseconds by the removed units of each group.

    Attributes:
        block: output channels that are computed at a time: the one of `BLOCKS` that fits the samples best.
        error: root mean square error on the samples, relative to the unpruned network's time.
    """

    def __init__(self, graph: ChannelGraph, table: LatencyTable):
        self._full = table.full
        removed = [[row.get(name, 0) for name in graph.groups] for row, _ in table.samples]
        rows = np.array(removed, dtype=np.int64).reshape(-1, len(graph.groups))
        times = np.array([part for _, part in table.samples])
        fits = [_Fit(Work(graph, block), rows, times) for block in BLOCKS]
        self._fit = min(fits, key=lambda fit: fit.error)
        self.block, self.error = self._fit.work.block, self._fit.error

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        return self._full * self._fit(removed)

    def part(self, groups: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
        """Return the milliseconds of the layers that these groups change, by the removed units."""
        work = self._fit.work.part(groups)
        return lambda removed: self._full * self._fit.by_layer(removed, work)[0].sum(axis=1)

    def by_layer(self, removed: np.ndarray) -> tuple[np.ndarray, float]:
        """Split the milliseconds: float64 [candidates, layers of the graph], and what no layer causes."""
        layers, rest = self._fit.by_layer(removed)
        return self._full * layers, self._full * rest


class _Fit:
    """Rates for the kinds of work, by non-negative least squares; exact for the unpruned network."""

    def __init__(self, work: Work, rows: np.ndarray, times: np.ndarray):
        self.work = work
        whole = work(np.zeros((1, rows.shape[1]), dtype=np.int64))
        self._scale = np.maximum(whole[0], 1.0)
        self._rates, _ = nnls(np.concatenate([whole, work(rows)]) / self._scale, np.append(1.0, times))
        self._rates /= float((whole / self._scale @ self._rates)[0])
        self.error = float(np.sqrt(np.mean((self(rows) - times) ** 2))) if len(rows) else 0.0

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        """Predict the time relative to the unpruned network's, float64 [candidates]."""
        return np.asarray(self.work(removed) / self._scale @ self._rates)

    def by_layer(self, removed: np.ndarray, work: Work | None = None) -> tuple[np.ndarray, float]:
        """Split the relative time: float64 [candidates, layers], of all layers or those of `work`; a constant part."""
        work = work or self.work
        rest, *kinds, write = self._rates / self._scale
        macs, written = work.by_layer(removed)
        return macs * (np.array(kinds) @ work.masks) + written * write, float(rest)


class Work:
    """Amount of each kind of work of a network, float [candidates, kinds]; the first kind is a constant 1."""

    def __init__(self, graph: ChannelGraph, block: int = 1):
        """
        Args:
            block: output channels are rounded up to a multiple of it.
        """
        self.block = block
        self._cost: ProductCost = product_cost(graph, MACS)
        self._positions = np.array([float(layer.positions) for layer in graph.layers])
        kinds = np.array([_kind(layer) for layer in graph.layers])
        self.masks = np.array([kinds == kind for kind in range(_KINDS)], dtype=np.float64)  # [kinds, layers]
        weighted = np.array([bool(layer.shape) for layer in graph.layers])
        # the axis of output channels, behind that of repeats, which are the channels of a product of activations
        self._outputs = np.where(kinds == _TRANSPOSED, 2, np.where(weighted, 1, 0))
        self._written = self._positions * weighted

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        macs, written = self.by_layer(removed)
        return np.column_stack([np.ones(len(removed)), macs @ self.masks.T, written.sum(axis=1)])

    def part(self, groups: Sequence[int]) -> Work:
        """Return the work of the layers that these groups change."""
        part, layers = copy.copy(self), self._cost.changed_by(groups)
        part._cost = self._cost.of_layers(layers)
        part._positions, part._outputs, part._written = (
            values[layers] for values in (self._positions, self._outputs, self._written)
        )
        part.masks = self.masks[:, layers]
        return part

    def by_layer(self, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the multiply-accumulates and the written numbers of each layer, float [candidates, layers]."""
        lengths, axis = self._cost.lengths(removed), self._outputs[None, :, None]
        outputs = self.block * np.ceil(np.take_along_axis(lengths, axis, axis=2) / self.block - _ROUNDING)
        np.put_along_axis(lengths, axis, outputs, axis=2)
        return lengths.prod(axis=2) * self._positions, outputs[:, :, 0] * self._written


_DENSE, _POINTWISE, _TRANSPOSED, _DEPTHWISE, _KINDS = 0, 1, 2, 3, 4


def _kind(layer: Layer) -> int:
    """The kind of work that a layer is; linear layers count as 1x1 convolutions."""
    if layer.kind == TRANSPOSED:
        return _TRANSPOSED
    if len(layer.shape) < 4 or layer.shape[2:] == (1, 1):
        return _POINTWISE
    return _DEPTHWISE if layer.kind == DEPTHWISE else _DENSE


def measured_table(
    machine: Mapping[str, Any], choices: Mapping[str, Sequence[int]], time_of: Callable[[Removed], tuple[float, float]]
) -> LatencyTable:
    """Load the table of this machine and measure the missing samples.

    Args:
        choices: permitted numbers of removed units by group, ascending.
        time_of: returns milliseconds of the unpruned network, and the relative time of the pruned one.
    """
    table = load_table(machine) or LatencyTable(machine)
    for removed in random_samples(choices)[len(table.samples) :]:
        base, part = time_of(removed)
        table.full = min(base, table.full or base)
        table.samples.append((removed, part))
        table.save()  # after each, so that an interrupted run continues here
    return table


def random_samples(choices: Mapping[str, Sequence[int]]) -> list[dict[str, int]]:
    """Draw the removed units of each sample, from a few to nearly all; reproducible."""
    rng = np.random.default_rng(0)
    found = []
    for sample in range(SAMPLES):
        most = (sample + 1) / SAMPLES
        least = max(0.0, 2 * most - 1)
        shares = {name: rng.uniform(least, most) for name in choices}
        picks = {name: round(share * len(choices[name])) for name, share in shares.items()}
        found.append({name: int([0, *choices[name]][pick]) for name, pick in picks.items() if pick})
    return found


def load_table(machine: Mapping[str, Any]) -> LatencyTable | None:
    """Load the stored table for `machine`; None if there is none, or it is damaged and has to be measured again."""
    table = LatencyTable(machine)
    if not os.path.lexists(table.path):
        return None
    try:
        content = Field(read_json(table.path, "ocrslim prune"))
        if content["schema"].value != _SCHEMA or content["machine"].value != dict(machine):
            return None
        table.full = content["full_ms"].number(_LEAST)
        table.samples = [_sample(one) for one in content["samples"].list(SAMPLES)]
        table.plans = {plan: part.number(_LEAST) for plan, part in content["plans"].items()}
    except (ArtifactError, ValueError) as fault:
        logger.warning("latency: %s: damaged, measured again: %s", table.path, fault)
        return None
    return table


def _sample(field: Field) -> tuple[dict[str, int], float]:
    pair = field.list(2)
    if len(pair) != 2:
        raise field.fault("removed units and a relative time")
    return {name: count.whole(0, _MOST_UNITS) for name, count in pair[0].items()}, pair[1].number(_LEAST)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/ocrslim`, by default `~/.cache/ocrslim`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocrslim"


def describe_machine(groups: Iterable[str], config: Config, align: int | None = None) -> dict[str, Any]:
    """Describe what samples depend on: processor, runtime, threads, versions, input, channel groups and alignment."""
    import paddle

    export = config.export
    return {
        "processor": processor(),
        "threads": export.threads,
        "runtime": [export.runtime, RUNTIMES[export.runtime].version],
        "paddle": paddle.__version__,  # which writes the program
        "rewrite": export.rewrite,
        "input": list(config.task.nominal_shape),
        "network": hash_value(list(groups)),
        "align": align,
    }
