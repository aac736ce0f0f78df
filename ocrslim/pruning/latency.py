"""Milliseconds of a pruned network, measured for each group alone and put together by MACs.

What one group's pruning saves is measured on the whole network, with everything that depends on it: layouts, sums,
upsampling. Where two groups meet in a layer (its inputs and its outputs), their savings are not simply added, as

    ms(n) = ms(0) + sum over groups of (ms(n_g) - ms(0)) + rate x (MACs(n) - MACs(0) - sum of (MACs(n_g) - MACs(0)))

has it: the first order measured, what is counted twice given back at the average milliseconds per MAC.

A table is kept by machine, so that it is measured once: `$XDG_CACHE_HOME/ocrslim/latency-HASH.json`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from ocrslim.artifacts import hash_value, read_json, write_json
from ocrslim.errors import ArtifactError
from ocrslim.graph.groups import ChannelGraph
from ocrslim.pruning.counts import MACS, product_cost

_TRUST = 100  # of the unpruned network's time beside others: fewer channels take no longer, the rest is noise
_POINTS = 3  # counts measured of a group, the largest among them
_SCHEMA = 1


@dataclass
class LatencyTable:
    """What was measured on one machine.

    Attributes:
        machine: what the times depend on, for people to read and to find the table by.
        full: milliseconds of the unpruned network.
        points: by group, milliseconds of the network with so many units of that group removed.
    """

    machine: Mapping[str, Any]
    full: float
    points: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_folder() / f"latency-{hash_value(self.machine)[:16]}.json"

    def save(self) -> None:
        """Write it, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema": _SCHEMA, "machine": dict(self.machine), "full_ms": self.full, "points": self.points}
        write_json(self.path, content)


class LatencyCost:
    """Milliseconds by the units that go from each group."""

    def __init__(self, graph: ChannelGraph, table: LatencyTable):
        self._names = list(graph.groups)
        self._table = table
        self._macs = product_cost(graph, MACS)
        self._none = np.zeros(len(self._names), dtype=np.int64)
        self._full_macs = self._macs(self._none[None])[0]
        self._rate = self._milliseconds_per_mac()

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        first = np.zeros(len(removed))
        alone = np.zeros(len(removed))
        for group, name in enumerate(self._names):
            points = self._table.points.get(name)
            if points:
                counts = [0, *sorted(points)]
                times = [self._table.full, *(points[count] for count in counts[1:])]
                falling = isotonic_regression(times, weights=[_TRUST, *[1] * len(points)], increasing=False).x
                first += np.interp(removed[:, group], counts, falling) - falling[0]
            alone += self._macs_alone(group, removed[:, group]) - self._full_macs
        twice = self._macs(removed) - self._full_macs - alone
        return np.asarray(self._table.full + first + self._rate * twice)

    def _macs_alone(self, group: int, counts: np.ndarray) -> np.ndarray:
        rows = np.repeat(self._none[None], len(counts), axis=0)
        rows[:, group] = counts
        return self._macs(rows)

    def _milliseconds_per_mac(self) -> float:
        """Least squares through the origin over all that was measured."""
        saved, times = [], []
        for name, points in self._table.points.items():
            counts = np.array(sorted(points), dtype=np.int64)
            saved += (self._full_macs - self._macs_alone(self._names.index(name), counts)).tolist()
            times += [self._table.full - points[count] for count in counts.tolist()]
        square = float(np.square(saved).sum())
        return max(0.0, float(np.dot(saved, times)) / square) if square else 0.0


def measured_table(
    machine: Mapping[str, Any], wanted: Mapping[str, Sequence[int]], ratio_of: Callable[..., tuple[float, float]]
) -> LatencyTable:
    """The table of this machine, with a few of the `wanted` counts of each group; what is missing is measured.

    Args:
        wanted: units that may go from each group, ascending.
        ratio_of: (group, units) -> milliseconds of the unpruned network, and of that one as part of it.
    """
    table = load_table(machine) or LatencyTable(machine, 0.0)
    missing = [
        (name, n) for name, counts in wanted.items() for n in spread(counts) if n not in table.points.get(name, {})
    ]
    for name, count in missing:
        base, ratio = ratio_of(name, count)
        table.full = table.full or base
        table.points.setdefault(name, {})[count] = ratio * table.full
        table.save()  # each: the next run goes on from here
    return table


def load_table(machine: Mapping[str, Any]) -> LatencyTable | None:
    """The table kept for `machine`; None where there is none, or it is damaged: it is then measured again."""
    table = LatencyTable(machine, 0.0)
    if not table.path.is_file():
        return None
    try:
        content = read_json(table.path, "ocrslim prune")
        if content["schema"] != _SCHEMA or content["machine"] != dict(machine):
            return None
        table.full = float(content["full_ms"])
        table.points = {n: {int(k): float(v) for k, v in p.items()} for n, p in content["points"].items()}
    except (ArtifactError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return table if table.full > 0 else None


def spread(counts: Sequence[int]) -> list[int]:
    """A few of `counts` over their range, the last among them."""
    places = np.linspace(0, len(counts) - 1, min(len(counts), _POINTS)).round().astype(int)
    return [counts[place] for place in places] if len(counts) else []


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/ocrslim`, by default `~/.cache/ocrslim`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocrslim"


def describe_machine(groups: Iterable[str], shape: Sequence[int], threads: int) -> dict[str, Any]:
    """What times depend on: processor, threads, version of Paddle, input, and the network's groups with members."""
    import paddle

    return {
        "processor": _processor(),
        "threads": threads,
        "paddle": paddle.__version__,
        "input": list(shape),
        "network": hash_value(list(groups)),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
