"""What the parts of the accuracy benchmark say together: the points of its curves, each held against the unpruned."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from accuracy_bootstrap import Difference, hmean, paired_difference
from accuracy_plan import ALL_OURS, DEFAULT, LATENCY, PADDLESLIM, REBUILT, UNPRUNED, Results, trained_for

THREADS = ("1", "2")
Name = tuple[str, str, str, float]  # data set, way, point, minutes of training


@dataclass(frozen=True)
class Spot:
    """The networks of one way at one point, one for each seed.

    Attributes:
        data, way, point, budget: what they have in common; `point` is "" for the unpruned network, `budget` the minutes
            of training, 0 for none.
        networks: results of `score`, by key of the part.
        times: results of `latency` by number of threads; {} for the unpruned network, or where none were measured.
        reference: what `difference` is to.
        difference: in hmean, of the means over seeds; None where there is nothing to compare with.
    """

    data: str
    way: str
    point: str
    budget: float
    networks: Mapping[str, Mapping[str, Any]]
    times: Mapping[str, Mapping[str, Any]]
    reference: str = ""
    difference: Difference | None = None

    @property
    def name(self) -> str:
        """For people."""
        return ", ".join(part for part in (self.way, self.point, trained_for(self.budget)) if part)

    @property
    def trained(self) -> bool:
        """Whether it was trained at all."""
        return self.budget > 0

    @property
    def answers(self) -> list[Mapping[str, Any]]:
        """What `score` found of each network."""
        return [one["answer"] for one in self.networks.values()]

    @property
    def counts(self) -> list[Any]:
        """Counts of each image, network by network."""
        return [answer["counts"] for answer in self.answers]

    @property
    def hmeans(self) -> list[float]:
        """Of each network on the test images."""
        return [hmean(counts) for counts in self.counts]

    @property
    def hmean(self) -> float:
        """Mean over the networks."""
        return statistics.fmean(self.hmeans)

    def removed(self, what: str) -> float:
        """Fraction of the `macs` or `params` that is gone; the mean over seeds, whose plans may differ."""
        return statistics.fmean(1 - answer[what][1] / answer[what][0] for answer in self.answers)

    @property
    def timed(self) -> bool:
        """Whether the network that was timed has the plan of all of these."""
        return bool(self.times) and all(answer["plan"] == self.times["plan"] for answer in self.answers)

    def ratio(self, threads: str) -> float | None:
        """Time of a pass, as part of the unpruned network's; None where it was not measured."""
        if self.way == UNPRUNED:
            return 1.0
        return self.times["threads"][threads]["ratio"] if self.times else None


def spots_of(results: Results) -> list[Spot]:
    """All points that have a score, each with its difference to the unpruned network of the same training."""
    found: dict[Name, dict[str, Any]] = {}
    for key, one in results.items():
        part = one["request"]
        if part["kind"] == "score":
            found.setdefault((part["data"], part["way"], part["point"], part["budget"]), {})[key] = one
    return [_spot(name, found, results) for name in sorted(found, key=_order)]


def _order(name: Name) -> tuple[Any, ...]:
    data, way, point, budget = name
    return data != "sroie", data, point, (UNPRUNED, PADDLESLIM, *ALL_OURS).index(way), budget


def _spot(name: Name, found: Mapping[Name, Mapping[str, Any]], results: Results) -> Spot:
    data, way, point, budget = name
    timing = results.get(", ".join((data, way, point, LATENCY)))
    times = timing["answer"] if timing else {}
    other = (data, UNPRUNED, "", 0.0 if way == UNPRUNED else budget)
    spot = Spot(*name, found[name], times)
    if other == name or other not in found:
        return spot
    reference = Spot(*other, found[other], {})
    return Spot(*name, found[name], times, reference.name, paired_difference(spot.counts, reference.counts))


@dataclass(frozen=True)
class Comparison:
    """Ours less PaddleSlim's, both trained for `budget` minutes, at one point of one data set."""

    data: str
    point: str
    budget: float
    seeds: tuple[int, int]
    difference: Difference


def comparisons(spots: Sequence[Spot]) -> list[Comparison]:
    """One for each point where both are trained and scored."""
    theirs, measured = (
        {(s.data, s.point, s.budget): s for s in spots if s.way == way and s.trained} for way in (PADDLESLIM, DEFAULT)
    )
    found = []
    for spot in spots:
        other = theirs.get((spot.data, spot.point, spot.budget))
        earlier = spot.way == REBUILT and (spot.data, spot.point, spot.budget) not in measured
        if spot.trained and other is not None and (spot.way == DEFAULT or earlier):
            seeds = len(spot.networks), len(other.networks)
            difference = paired_difference(spot.counts, other.counts)
            found.append(Comparison(spot.data, spot.point, spot.budget, seeds, difference))
    return found


def unpruned_ms(results: Results, data: str, threads: str) -> float | None:
    """Milliseconds of the unpruned network: the median of what was measured beside each pruned one."""
    found = [
        one["answer"]["threads"][threads]["unpruned_ms"]
        for one in results.values()
        if one["request"]["kind"] == LATENCY and one["request"]["data"] == data
    ]
    return statistics.median(found) if found else None


def as_json(spots: Sequence[Spot], found: Sequence[Comparison]) -> dict[str, Any]:
    """Points and comparisons as plain values: `points` and `ours_less_paddleslim` of the results file."""
    points = [
        {
            **{key: getattr(spot, key) for key in ("data", "way", "point", "budget", "reference", "hmean", "hmeans")},
            "macs_removed": spot.removed("macs"),
            "params_removed": spot.removed("params"),
            "latency": {threads: spot.ratio(threads) for threads in THREADS},
            "difference": asdict(spot.difference) if spot.difference else None,
            "networks": list(spot.networks),
        }
        for spot in spots
    ]
    return {"points": points, "ours_less_paddleslim": [asdict(one) for one in found]}
