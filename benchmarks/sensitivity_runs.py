"""What the parts of the benchmark say together: our runs, PaddleSlim's, and one against the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

MKL = ", MKL_DEBUG_CPU_TYPE=5"
ALL_IMAGES = ", all images"
TOLERANCE, WITHIN = 0.02, 0.05

Results = Mapping[str, Mapping[str, Any]]


class Ours:
    """One of our runs; of several ranks, all of them together.

    Attributes:
        seconds: from the end of the baseline to the last point.
        whole_seconds: from the start of the process to the end of the analysis.
        image_points: images measured, of all points together.
        points: as many as these would be on all images.
    """

    def __init__(self, one: Mapping[str, Any]):
        answer = one["answer"]
        self.request, self.process = one["request"], one["process"]
        self.ranks: list[dict[str, Any]] = answer if isinstance(answer, list) else [answer]
        busy = [rank for rank in self.ranks if rank["image_points"]] or self.ranks  # fewer groups than ranks
        self.seconds = max(rank["last"] for rank in busy) - min(rank["start"] for rank in busy)
        self.whole_seconds = max(rank["end"] for rank in self.ranks) - self.process["spawned"]
        self.losses = {key: loss for rank in self.ranks for key, loss in rank["losses"].items()}
        self.counts = {key: counts for rank in self.ranks for key, counts in rank["counts"].items()}
        self.layers = self.ranks[0]["layers"]
        self.image_points = sum(rank["image_points"] for rank in self.ranks)
        self.points = self.image_points / self.request["images"]

    @property
    def per_point(self) -> float:
        """Seconds from the end of the baseline to the last point, for each point on all images."""
        return self.seconds / self.points

    def added(self, what: str, name: str) -> float:
        """Sum over the ranks."""
        return sum(rank[what].get(name, 0.0) for rank in self.ranks)


def our_runs(results: Results) -> dict[str, Ours]:
    """Our runs by the key of their part."""
    return {key: Ours(one) for key, one in results.items() if one["request"]["way"] == "ours"}


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """Markdown; the cells as they are."""
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def paddleslim_seconds(results: Results, name: str, mkl: str = "") -> float | None:
    """Seconds per point of PaddleSlim's way on a data set."""
    one = results.get(f"{name} PaddleSlim{mkl}")
    return one["answer"]["seconds_per_point"] if one else None


def extrapolated(results: Results, name: str, way: str) -> float | None:
    """Seconds that PaddleSlim's way would take for all of our groups at nine ratios: points x seconds per point."""
    per_point, mine = paddleslim_seconds(results, name), results.get(f"{name} {way}")
    if not per_point or not mine:
        return None
    images = results[f"{name} PaddleSlim"]["request"]["images"]
    groups = len(results["groups of ours"]["answer"]["groups"])
    return groups * len(mine["request"]["ratios"]) * per_point * mine["request"]["images"] / images


def gain_in_all(results: Results, name: str, way: str) -> float | None:
    """How many times faster one of our ways is for all groups, its whole process taken."""
    seconds = extrapolated(results, name, way)
    return seconds / Ours(results[f"{name} {way}"]).whole_seconds if seconds else None


def decisions(results: Results, name: str) -> tuple[float | None, list[str]]:
    """Share of the layers whose adaptive ratio is within 0.05 of the rule's on the exact table; the others."""
    if not {f"{name} adaptive", f"{name} whole table"} <= set(results):
        return None, []
    adaptive, exact = (Ours(results[f"{name} {way}"]) for way in ("adaptive", "whole table"))
    from ocrslim.pruning.loss_rules import ratio_by_loss

    far = []
    for layer, known in adaptive.layers.items():
        losses = {float(key.split("|")[1]): loss for key, loss in exact.losses.items() if key.split("|")[0] == layer}
        right = ratio_by_loss(losses, TOLERANCE)
        if abs(known["ratio"] - right) > WITHIN + 1e-9:
            far.append(f"{layer} {known['ratio']:.3f} instead of {right:.3f}")
    return 1 - len(far) / len(adaptive.layers), far
