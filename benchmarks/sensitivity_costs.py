"""Tables of the benchmark about what time is spent on: the breakdown, the arithmetic, the growth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sensitivity_runs import MKL, Ours, Results, our_runs, table

_WORK = ("build", "proof", "front", "forward", "post-processing", "matching", "idle")
_ABOUT_WORK = (
    "Seconds of all workers after the baseline. Idle is what is not accounted for: waiting, decoding images "
    "that another worker decoded for the baseline, preparing a layer, the last worker's lead. Decoding: what "
    "it takes to decode all images once, on one core, measured behind the run; a part of idle. Images and "
    "network: most bytes kept at a time, of decoded images and of the unpruned network's values. Peak: PSS (a "
    "page that n processes share counts 1/n in each) of all processes together, looked at every 0.2 s while "
    "their RSS is near its highest; other processes on the machine that run Paddle make it look smaller."
)
_ABOUT_MACS = (
    "2 FLOP a MAC. GMAC of the variants: the pruned networks' MACs x images x points, scaled to the images' "
    "mean size. With reuse: what is left of them behind each division of the network, and the part in front "
    "once for each layer and image (as divided at the default price, before any algebra). GFLOP/s and the "
    "share of the peak are of that. A matrix product need not be the highest that the machine can do: a share "
    "above 100 % says that convolutions do better."
)


def breakdown(results: Results) -> str:
    """Seconds of the workers by what they did, bytes cached, peak memory."""
    rows = []
    for key, run in our_runs(results).items():
        if "linear" in key:
            continue
        spent = {what: run.added("spent", what) for what in _WORK}
        total = sum(spent.values())
        cached = [sum(rank["cached"][at] for rank in run.ranks) / 2**20 for at in (0, 1)]
        parts = [f"{100 * seconds / total:.0f} %" if total else "" for seconds in spent.values()]
        decoding = f"{run.added('arithmetic', 'decoding') / len(run.ranks):.1f}"
        memory = [*(f"{size:.0f}" for size in cached), run.process["pss_mib"], run.process["processes"]]
        rows.append([key, f"{total:.1f}", *parts, decoding, *memory])
    if not rows:
        return ""
    headers = ("", "core s", *_WORK, "decoding, s", "images, MiB", "network, MiB", "peak, MiB", "processes")
    return "\n\n".join(
        [
            table(rows, headers),
            _ABOUT_WORK,
        ]
    )


def arithmetic(results: Results, data: Sequence[str]) -> str:
    """MACs of the points over seconds, against what the machine reached in the same run."""
    peak = results.get("peak", {}).get("answer")
    if not peak:
        return ""
    rows = []
    for name in data:
        for mkl in ("", MKL):
            rows += list(_paddleslim_arithmetic(results, name, mkl, peak["gflops"]))
        for key, run in our_runs(results).items():
            if key.startswith(f"{name} ") and "linear" not in key:
                macs = [run.added("arithmetic", kind) for kind in ("whole", "with_reuse")]
                rows.append([key, *_rates(macs, run.seconds, peak["gflops"])])
    headers = ("", "GMAC of the variants", "GMAC with reuse", "s at the peak", "s measuring", "GFLOP/s", "of the peak")
    reached = ", ".join(
        f"{who} {best:.0f} (median {middle:.0f})"
        for who, (best, middle) in (("NumPy's OpenBLAS", peak["numpy"]), ("oneDNN by Paddle Inference", peak["onednn"]))
    )
    return "\n\n".join(
        [
            table(rows, headers),
            f"Peak: {peak['gflops']:.0f} GFLOP/s, float32 matrix products on all cores: {reached}. {_ABOUT_MACS}",
        ]
    )


def _paddleslim_arithmetic(results: Results, name: str, mkl: str, peak: float) -> Iterator[list[Any]]:
    """The same points of ours tell its MACs; it reuses nothing."""
    theirs, mine = results.get(f"{name} PaddleSlim{mkl}"), results.get(f"{name} exact, all cores{mkl}")
    if theirs and mine:
        macs = Ours(mine).added("arithmetic", "whole")
        seconds = theirs["answer"]["seconds_per_point"] * theirs["answer"]["points"]
        yield [f"{name} PaddleSlim{mkl}", *_rates([macs, macs], seconds, peak)]


def _rates(macs: Sequence[float], seconds: float, peak: float) -> list[str]:
    """MACs of all variants, MACs with reuse, seconds that these take at the peak, and what is reached."""
    gflops = 2 * macs[1] / seconds / 1e9
    least = 2 * macs[1] / peak / 1e9
    sizes = [f"{value / 1e9:.0f}" for value in macs]
    return [*sizes, f"{least:.1f}", f"{seconds:.1f}", f"{gflops:.0f}", f"{100 * gflops / peak:.0f} %"]


def linearity(results: Results) -> str:
    """Seconds on more and more images, and on more and more layers."""
    texts = []
    for unit in ("images", "layers"):
        runs = [run for key, run in our_runs(results).items() if " linear, " in key and key.endswith(unit)]
        sizes = [run.request["images"] if unit == "images" else len(run.request["groups"]) for run in runs]
        seconds = [run.seconds for run in runs]
        rows = [
            [size, f"{run.points:g}", f"{run.seconds:.2f}", f"{1e3 * run.seconds / run.image_points:.1f}"]
            for size, run in sorted(zip(sizes, runs), key=lambda one: one[0])
        ]
        if rows:
            texts.append(table(rows, (unit, "points", "s measuring", "ms per image and point")))
        if len(rows) > 2:
            slope, start = np.polyfit(sizes, seconds, 1)
            off = max(abs(s - (start + slope * size)) / s for size, s in zip(sizes, seconds))
            texts.append(
                f"Straight line: {start:.2f} s + {slope:.3f} s for each of the {unit}; largest deviation {off:.1%}."
            )
    return "\n\n".join(texts)
