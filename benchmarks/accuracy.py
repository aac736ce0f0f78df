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
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import accuracy_tables as tables
from accuracy_data import Labels, labels_of
from accuracy_ledger import readings
from accuracy_picture import draw
from accuracy_plan import RESIZE, Part, folder_of, parse_point, plan
from accuracy_spots import as_json, comparisons, spots_of
from machine import describe, now, revision
from paths import REPO, package_weights, portable
from processes import FinishedParts, environment, run_logged

from ocrslim.utils.files import write_text

OUTPUT = REPO / "output/accuracy_benchmark"
RESULTS = REPO / "benchmarks/accuracy"
FORMAT = 1  # of accuracy.json
LEDGER = "ledger.jsonl"
_PATIENCE = 60.0  # seconds for a training to save its state when interrupted
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
    if options.fresh:
        forget(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    labels = {data: labels_of(data, options.out, REPO, options.images) for data in RESIZE}
    bench = Bench(options.out, options.score_again)
    try:
        bench.run([part for part in plan(options, labels, package_weights()) if options.only.search(part.key)])
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on", file=sys.stderr)
        return 130
    finally:
        report(options, labels, bench)
    return 1 if bench.failed else 0


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
    parser.add_argument("--score-again", action="store_true", help="score networks whose name another one had")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="working folder")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="keys of parts to run")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
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


def forget(out: Path) -> None:
    """Delete what was measured; who has read the test images stays known."""
    for path in out.iterdir() if out.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LEDGER:
            path.unlink()


class Bench:
    """Runs parts and keeps what came out of them.

    Attributes:
        results: by key of the part: request, answer, process, cpu, date, revision.
        failed: keys of the parts that failed this time, or could not be run for want of one.
    """

    def __init__(self, out: Path, score_again: bool = False):
        self.failed: list[str] = []
        self._out, self._again = out, score_again
        self._journal = FinishedParts(out / "parts.jsonl")
        self.results = self._journal.results

    def run(self, parts: Sequence[Part]) -> None:
        """Run those that are not done, and say how long it may take."""
        left = [part for part in parts if not self.done(part)]
        hours = sum(part.estimate() for part in left) / 3600
        print(f"{len(parts)} parts, {len(left)} to do, about {hours:.1f} hours on 2 quiet cores", flush=True)
        for number, part in enumerate(parts, 1):
            self._journal.refresh()  # another process may have measured what it builds on
            if self.done(part):  # asked only now: what it builds on may have been measured anew
                continue
            print(f"[{number}/{len(parts)}] {part.key}: about {part.estimate():.0f} s ...", end=" ", flush=True)
            lacking = [key for key in part.needs if key in self.failed or key not in self.results]
            if lacking:
                self.failed.append(part.key)
                print(f"not possible without: {'; '.join(lacking)}", flush=True)
            else:
                self._measure(part)

    def done(self, part: Part) -> bool:
        """Whether it was measured, with the same command, on the same results of other parts."""
        found = self.results.get(part.key)
        known = found is not None and all(key in self.results for key in part.needs)
        return known and found["request"] == self._request(part)

    def _request(self, part: Part) -> dict[str, Any]:
        """What its result depends on, wherever repository and working folder lie."""
        return portable(part.request(self.results), self._out)

    def _measure(self, part: Part) -> None:
        folder, request = folder_of(self._out, part.key), self._request(part)
        asked = folder / "request.json"
        if not asked.is_file() or json.loads(asked.read_text(encoding="utf-8")) != request:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        asked.write_text(json.dumps(request), encoding="utf-8")
        answer, process = self._run(part, part.command(self.results), folder)
        if answer is None:
            self.failed.append(part.key)
            print(f"failed with status {process['status']}: see {folder / 'log'}", flush=True)
            return
        about = {"process": process, "cpu": describe()["cpu"], "date": now(), "revision": revision()}
        self._journal.add({"request": request, "answer": answer, **about})
        print(f"{process['seconds']:.0f} s{_said(answer)}", flush=True)

    def _run(self, part: Part, words: Sequence[str], folder: Path) -> tuple[Any, Mapping[str, Any]]:
        """What the command printed last, None where it failed; and what the machine did meanwhile."""
        if part.kind == "score" and self._again:
            at = words.index("-c")
            words = [*words[:at], "--again", *words[at:]]
        output, patience = folder / "answer", _PATIENCE if part.kind in ("train", "table") else 0.0
        run, variables = [sys.executable, "-W", "ignore", *words], environment(**part.variables)
        process = run_logged(run, folder / "log", variables, answer=output, patience=patience)
        lines = output.read_text(encoding="utf-8").splitlines()
        return (json.loads(lines[-1]) if lines and not process["status"] else None), process


def _said(answer: Any) -> str:
    """The score, where there is one."""
    for scores in (answer.get(name) for name in ("scores", "select", "best")):
        for metric in ("hmean", "acc"):
            if scores and metric in scores:
                return f", {metric} {scores[metric]:.4f}"
    return ""


def report(options: argparse.Namespace, labels: Mapping[str, Labels], bench: Bench) -> None:
    """Write tables, picture and what they were made from: also of parts that are not asked for now."""
    everything = argparse.Namespace(**{**vars(options), "data": list(RESIZE)})
    asked = {part.key: part for one in (everything, options) for part in plan(one, labels, package_weights())}
    results = {key: bench.results[key] for key, part in asked.items() if bench.done(part)}
    spots = spots_of(results)
    if not spots:
        return
    target = RESULTS if options.out == OUTPUT else options.out / "accuracy"
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
