"""What `benchmarks/points.py` measured, as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from tabulate import tabulate

SLOW, FAST = "PaddleSlim's way", "exact mode"
_PARTS = ("variant", "build", "proof", "front", "forward", "post-processing", "matching")
_TARGET = 10
_ABOUT = (
    "Seconds of CPU, one thread. Per point: the mean over groups of the mean over ratios, ours nine (0.1 to 0.9), "
    "PaddleSlim's way those that its command names. Per G MACs: ours, by image and 10^9 MACs of the unpruned network "
    "at the mean size of the images. Median: of the factors of the groups. Without the proof: ours "
    "without the passes in dygraph that the first variant of each group is held against. Differ: images that the two "
    "ways count differently, over all points that both measured."
)
_ABOUT_PARTS = (
    "Seconds of CPU per point. Variant: cutting the network and reading off what differs. Build: writing it for the "
    "runtime and loading it. Proof: as above. Front: what pruning does not change, once for each group and image. "
    "Forward: running it. Rest: PaddleSlim's way decodes its images anew; putting the network back."
)


def seconds(points: Sequence[Mapping[str, Any]], way: str, what: str = "cpu") -> dict[str, float]:
    """The mean seconds of a point of each group; of one part where `what` names it."""
    found: dict[str, list[float]] = {}
    for point in points:
        if point["way"] == way:
            found.setdefault(point["group"], []).append(point.get(what, point["parts"].get(what, 0.0)))
    return {group: mean(taken) for group, taken in found.items()}


def factors(points: Sequence[Mapping[str, Any]], what: str = "cpu", proof: bool = True) -> tuple[float, float]:
    """How many times less ours takes: by the means of all groups, and the median of the groups."""
    slow, fast = seconds(points, SLOW, what), seconds(points, FAST, what)
    if not proof:
        fast = {group: fast[group] - taken for group, taken in seconds(points, FAST, "proof").items()}
    return mean(slow.values()) / mean(fast.values()), median(slow[group] / fast[group] for group in fast)


def summary(name: str, answer: Mapping[str, Any]) -> list[str]:
    """Return lines for the terminal."""
    return [f"\n{name}", _table([_row(name, answer)], _HEADERS), "", _parts({name: answer})]


_HEADERS = (
    "",
    "images",
    "groups",
    f"s, {SLOW}",
    f"s, {FAST}",
    "per G MACs",
    "times faster",
    "median",
    "without the proof",
    "wall clock",
    "differ",
    f"at least {_TARGET}",
)


def _row(name: str, answer: Mapping[str, Any]) -> list[str]:
    points = answer["points"]
    slow, fast = (seconds(points, way) for way in (SLOW, FAST))
    whole, middle = factors(points)
    differ = sum(point["differs"] for point in points)
    compared = sum(point["way"] == SLOW for point in points) * answer["images"]
    return [
        name,
        str(answer["images"]),
        f"{len(fast)} of {answer['groups']}",
        f"{mean(slow.values()):.2f}",
        f"{mean(fast.values()):.3f}",
        f"{mean(fast.values()) / answer['images'] / answer['macs'] * 1e9:.4f}" if "macs" in answer else "",
        f"{whole:.1f}",
        f"{middle:.1f}",
        f"{factors(points, proof=False)[0]:.1f}",
        f"{factors(points, 'wall')[0]:.1f}",
        f"{differ} of {compared}",
        "met" if whole >= _TARGET else "**not met**",
    ]


def document(results: Mapping[str, Any]) -> str:
    """Return everything as markdown."""
    rows = [_row(name, answer) for name, answer in results.items()]
    texts = [
        "# Seconds per point, by network",
        "Written by `benchmarks/points.py`.",
        _table(rows, _HEADERS),
        _ABOUT,
        "## By part",
        _parts(results),
        _ABOUT_PARTS,
        "## By group",
        _by_group(results),
        "## Commands and machine",
        *map(_how, results.values()),
    ]
    return "\n\n".join(texts) + "\n"


def _parts(results: Mapping[str, Any]) -> str:
    rows = []
    for name, answer in results.items():
        for way in (SLOW, FAST):
            taken = [mean(seconds(answer["points"], way, part).values()) for part in _PARTS]
            rest = mean(seconds(answer["points"], way).values()) - sum(taken)
            rows.append([f"{name}, {way}", *(f"{one:.3f}" for one in (*taken, rest))])
    return _table(rows, ("", *_PARTS, "rest"))


def _by_group(results: Mapping[str, Any]) -> str:
    rows = []
    for name, answer in results.items():
        slow, fast = (seconds(answer["points"], way) for way in (SLOW, FAST))
        for group, taken in fast.items():
            rows.append([name, group, f"{slow[group]:.2f}", f"{taken:.3f}", f"{slow[group] / taken:.1f}"])
    return _table(rows, ("", "group", f"s, {SLOW}", f"s, {FAST}", "times faster"))


def _how(answer: Mapping[str, Any]) -> str:
    machine = answer["machine"]
    packages = ", ".join(f"{package} {number}" for package, number in machine["packages"].items())
    return (
        f"    {answer['command']}\n\n{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']} GiB; "
        f"Python {machine['python']}, {packages}. {machine['date']}, revision {answer['revision']}; "
        f"{answer['pixels'] / answer['images'] / 1e3:.0f} thousand pixels an image; "
        f"{answer['setup']:.1f} s of CPU once, for images, trace and runtime."
    )


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
