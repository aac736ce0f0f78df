"""Hmean over measured latency and over MACs: the unpruned network, PaddleSlim's way, this project.

    python benchmarks/accuracy.py                        # eight hours of one core, two commands halve them
    python benchmarks/accuracy.py --minutes 0 --headline-minutes 0      # without training: half an hour
    python benchmarks/accuracy.py --try --out output/try # everything once on 3 images; the numbers mean nothing

Interrupt it as you like: the same command goes on, a training where it was. A training takes one core: with --only, two
commands in two terminals share them out, as --only 'seed 1' and --only 'seed [23]'. A part is measured anew where what
it builds on has changed; --fresh forgets everything but who has read the test images. Run it from the top of the
repository in its .venv, on a machine that does nothing else. Each part is a process of its own, a command of ocrslim or
of `accuracy_part.py`; its answer goes to parts.jsonl in the working folder (output/accuracy_benchmark), its log to a
folder there; the tables, what they were made from and the picture to benchmarks/accuracy.md, .json and .png, with
another --out into that folder instead.

Networks are calibrated and trained on train.txt, chosen by val.txt, and scored once on test.txt, by the part `score`
alone (`accuracy_ledger.py`). For ICDAR 2015, which has no test images here, these are every fifth image of train.txt
held back, and val.txt.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

import accuracy_tables as tables
from accuracy_bench import LEDGER, Bench, add_options, measure, open_bench, results_in
from accuracy_data import Labels, labels_of
from accuracy_ledger import readings
from accuracy_picture import draw
from accuracy_plan import RESIZE, parse_point, plan
from accuracy_spots import as_json, comparisons, spots_of
from machine import describe, revision
from paths import REPO, package_weights

from ocrslim.utils.files import write_text

OUTPUT = REPO / "output/accuracy_benchmark"
RESULTS = REPO / "benchmarks/accuracy"
FORMAT = 1  # of accuracy.json
_SETTINGS = ("data", "headline", "points", "seeds", "minutes", "headline_minutes", "images", "passes")
_OPTIONS = {
    "table": [],
    "pruning": ["Prune.align=8"],
    "data": [
        "Train.dataset.transforms.EastRandomCropData.size=[480,480]",
        "Train.loader.batch_size_per_card=4",
        "Train.loader.num_workers=0",
    ],
    "training": ["Optimizer.lr.learning_rate=0.001", "Optimizer.lr.warmup_epoch=2"],
    "our": ["Optimizer.ema.decay=0.999"],
}
_TRY = {
    "table": ["Prune.ratios=[0.3,0.6,0.9]"],
    "pruning": ["Prune.skip_loss=1.0", "Prune.recover_images=4"],
    "data": [
        "Train.dataset.transforms.EastRandomCropData.size=[160,160]",
        "Train.loader.batch_size_per_card=2",
    ],
}


def main() -> int:
    """Measure what is not measured yet, write tables and picture; 1 where a part failed."""
    options = parse()
    bench = open_bench(options, results_in(options, OUTPUT, RESULTS).with_suffix(".json"))
    labels = {data: labels_of(data, options.out, REPO, options.images) for data in RESIZE}
    parts = plan(options, labels, package_weights())
    return measure(bench, parts, options.only, lambda: report(options, labels, bench))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=RESIZE, default=list(RESIZE), help="data sets")
    point = {"type": parse_point, "metavar": "WHAT=FRACTION"}
    parser.add_argument("--headline", nargs="+", default=["latency=0.5"], **point, help="with every seed")
    parser.add_argument("--points", nargs="*", default=["macs=0.3", "macs=0.45", "macs=0.6"], **point, help="one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=20.0, help="budget of a training (20); 0: none")
    parser.add_argument("--headline-minutes", type=float, default=20.0, help="the same at the headline (20)")
    parser.add_argument("--passes", type=int, default=50, help="timed passes of each network and number of threads")
    for name, described in {
        "table": "the sensitivity analysis",
        "pruning": "choosing channels, PaddleSlim's way and ours",
        "data": "images and batches of trainings, and what is calibrated on",
        "training": "all trainings",
        "our": "our trainings and those of the unpruned network",
    }.items():
        what = f"more or other configuration entries for {described}"
        parser.add_argument(f"--{name}-options", nargs="+", default=[], metavar="Section.key=value", help=what)
    parser.add_argument("--try", dest="images", action="store_const", const=3, help="3 images, 2 steps")
    add_options(parser, OUTPUT)
    options = parser.parse_args(arguments)
    return completed(options, parser)


def completed(options: argparse.Namespace, parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options with what --try changes and what belongs to every run; refuses what cannot be."""
    options.out = options.out.resolve()
    if options.images is not None:
        if options.out == OUTPUT:
            parser.error("--try: its results would be taken for measured ones; expected another --out, as output/try")
        options.minutes, options.headline_minutes, options.passes = min(options.minutes, 1e-3), 0.0, 4
        options.headline, options.points = [], ["macs=0.6"]
        options.seeds = options.seeds[:2]
    if (
        min(options.minutes, options.headline_minutes) < 0
        or options.passes < 4
        or min(options.seeds) < 1
        or len(set(options.seeds)) < len(options.seeds)
    ):
        parser.error("minutes from 0, --passes from 4, --seeds from 1 and each once")
    for name, usual in _OPTIONS.items():
        tried = _TRY.get(name, []) if options.images is not None else []
        setattr(options, f"{name}_options", (*usual, *tried, *getattr(options, f"{name}_options")))
    return options


def report(options: argparse.Namespace, labels: Mapping[str, Labels], bench: Bench) -> None:
    """Write tables, picture and what they were made from: also of parts that are not asked for now."""
    everything = argparse.Namespace(**{**vars(options), "data": list(RESIZE)})
    asked = {part.key: part for one in (everything, options) for part in plan(one, labels, package_weights())}
    results = {key: bench.results[key] for key, part in asked.items() if bench.done(part)}
    spots = spots_of(results)
    if not spots:
        return
    target = results_in(options, OUTPUT, RESULTS)
    settings = {name: getattr(options, name) for name in _SETTINGS}
    missing = [part.key for part in plan(options, labels, package_weights()) if part.key not in results]
    state = {"failed": bench.failed, "missing": missing, "readings": readings(options.out / LEDGER)}
    text = tables.document(results, describe(), revision(), settings, state)
    write_text(target.with_suffix(".md"), f"{text}\n")
    known = {"format": FORMAT, "machine": describe(), "revision": revision(), "settings": settings, **state}
    found = {**known, **as_json(spots, comparisons(spots)), "parts": results}
    write_text(target.with_suffix(".json"), json.dumps(found) + "\n")  # in one line: it has every image's counts
    draw(results, spots, target.with_suffix(".png"))
    print(f"\n{text}\n\nwritten: {target}.md, .json and .png", flush=True)


if __name__ == "__main__":
    sys.exit(main())
