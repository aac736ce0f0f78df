"""The parts of the benchmark of the sensitivity analysis: what is run, on what, in which order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sensitivity_runs import ALL_IMAGES, MKL, Results

DATA = {"sroie": 40, "icdar2015": 100}  # images of val.txt
NINE = [round(0.1 * step, 1) for step in range(1, 10)]
# to estimate by: seconds for an image and point; PaddleSlim's in the default environment, ours with all cores
_SECONDS = {"sroie": (0.45, 0.03), "icdar2015": (0.75, 0.045)}
_START, _ADAPTIVE_SHARE = 14, 0.3


@dataclass(frozen=True)
class Part:
    """One process and what it is asked for; see `sensitivity_part.py`.

    Attributes:
        key: its name in tables and files.
        mkl: MKL_DEBUG_CPU_TYPE=5 is set.
        ranks: processes under `paddle.distributed.launch`.
    """

    key: str
    way: str
    data: str = "sroie"
    images: int = 1
    groups: tuple[str, ...] = ()
    ratios: tuple[float, ...] = ()
    mode: str = "exact"
    workers: int | None = None
    ranks: int = 1
    mkl: bool = False

    def estimate(self, all_groups: int) -> float:
        """Seconds that it may take."""
        points = (len(self.groups) or all_groups) * (len(self.ratios) or len(NINE)) + 1
        theirs, mine = _SECONDS[self.data]
        if self.way == "paddleslim":
            return _START + points * self.images * theirs * (0.75 if self.mkl else 1)
        if self.way != "ours":
            return _START
        share = _ADAPTIVE_SHARE if self.mode == "adaptive" else 1
        return _START + share * points * self.images * mine * (2 if self.workers == 1 else 1)


def listing_parts() -> list[Part]:
    """What has to be known before anything can be planned: the groups of both."""
    return [Part("groups of PaddleSlim", "paddleslim groups"), Part("groups of ours", "our groups")]


def plan(options: argparse.Namespace, results: Results) -> list[Part]:
    """The parts that the options ask for, in order."""
    if not all(part.key in results for part in listing_parts()):
        return []
    theirs, mine = (results[f"groups of {whose}"]["answer"]["groups"] for whose in ("PaddleSlim", "ours"))
    common = [group for group in mine if group in theirs]
    groups, ratios = spread(common, options.groups), tuple(options.ratios)
    found = [Part("peak", "peak")] if "peak" in options.parts else []
    for data in options.data:
        both = {"data": data, "images": images(options, data), "groups": groups}
        if "paddleslim" in options.parts:
            found.append(Part(f"{data} PaddleSlim", "paddleslim", ratios=ratios, **both))
        if "exact" in options.parts:
            found += exact_parts(data, both)
        if "adaptive" in options.parts:
            found += adaptive_parts(data, options)
    if "linear" in options.parts:
        found += linear_parts(options, mine)
    for data in options.data:
        found += fast_mkl_parts(data, options, {"data": data, "images": images(options, data), "groups": groups})
    return found


def exact_parts(data: str, both: dict[str, Any]) -> Iterator[Part]:
    """Exact mode, at the nine ratios that an analysis has: on all cores, on one, and as two ranks."""
    yield Part(f"{data} exact, all cores", "ours", ratios=tuple(NINE), **both)
    yield Part(f"{data} exact, 1 worker", "ours", ratios=tuple(NINE), workers=1, **both)
    yield Part(f"{data} exact, 2 ranks", "ours", ratios=tuple(NINE), ranks=2, **both)


def fast_mkl_parts(data: str, options: argparse.Namespace, both: dict[str, Any]) -> Iterator[Part]:
    """Both ways with Paddle's MKL on its fast path, which is dygraph's best case."""
    if "paddleslim" in options.parts:
        yield Part(f"{data} PaddleSlim{MKL}", "paddleslim", ratios=tuple(options.ratios), mkl=True, **both)
    if "exact" in options.parts:
        yield Part(f"{data} exact, all cores{MKL}", "ours", ratios=tuple(NINE), mkl=True, **both)


def images(options: argparse.Namespace, data: str) -> int:
    """Images that both ways are compared on."""
    return _count(options.images, options, data) or DATA[data]


def _count(asked: Sequence[str | None], options: argparse.Namespace, data: str) -> int | None:
    """What is asked for a data set; None where nothing is."""
    one = asked[min(list(options.data).index(data), len(asked) - 1)]
    return None if one is None else DATA[data] if one == "all" else min(int(one), DATA[data])


def adaptive_parts(data: str, options: argparse.Namespace) -> Iterator[Part]:
    """All groups at nine ratios: adaptive, and exact if wanted."""
    count = _count(options.adaptive_images, options, data) or images(options, data)
    yield Part(f"{data} adaptive", "ours", data, count, (), tuple(NINE), mode="adaptive")
    if options.whole_table:
        yield Part(f"{data} whole table", "ours", data, count, (), tuple(NINE))
    if options.adaptive_all and count < DATA[data]:
        yield Part(f"{data} adaptive{ALL_IMAGES}", "ours", data, DATA[data], (), tuple(NINE), mode="adaptive")


def linear_parts(options: argparse.Namespace, groups: Sequence[str]) -> Iterator[Part]:
    """Exact mode on more and more images, and on more and more layers."""
    data = "icdar2015" if "icdar2015" in options.data else options.data[0]
    ends = (options.ratios[0], options.ratios[-1])
    for number in sorted({min(number, DATA[data]) for number in options.linear_images}):
        three = spread(groups, 3)
        yield Part(f"{data} linear, {number} images", "ours", data, number, three, tuple(dict.fromkeys(ends)))
    middle, count = options.ratios[len(options.ratios) // 2], images(options, data)
    for layers in sorted({min(layers, len(groups)) for layers in options.linear_layers}):
        yield Part(f"{data} linear, {layers} layers", "ours", data, count, spread(groups, layers), (middle,))


def spread(names: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` of the names, evenly from the first to the last."""
    count = min(count, len(names))
    if count == 1:
        return (names[len(names) // 2],)
    return tuple(names[round(at * (len(names) - 1) / (count - 1))] for at in range(count))
