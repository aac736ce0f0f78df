"""PaddleSlim's sensitivity analysis against ours: seconds, equality, memory, distance to the machine's peak.

    python benchmarks/sensitivity.py                   # about an hour on 2 quiet cores
    python benchmarks/sensitivity.py --whole-table     # and our whole table, which adaptive decisions are held against
    python benchmarks/sensitivity.py --images 2 --groups 2 --ratios 0.3 --linear-images 2 4 --linear-layers 1 2 --out
                                       output/try      # everything once, in ten minutes; the times mean nothing

Interrupt it as you like: the same command goes on, part by part (PaddleSlim's way even point by point); --fresh
forgets what is done. Run it from the top of the repository in its .venv, on a machine that does nothing else. Each
part is a process of its own (`sensitivity_part.py`), started in one of two environments: the caller's without any
settings of thread numbers, and the same with MKL_DEBUG_CPU_TYPE=5, with which Paddle's MKL takes its fast path on AMD.
Logs and answers go to output/sensitivity_benchmark; the tables and what they were made from to
benchmarks/sensitivity.md and benchmarks/sensitivity.json, with another --out into that folder instead.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sensitivity_tables as tables
from machine import describe, now, revision
from paths import REPO
from processes import FinishedParts, environment, run_logged
from sensitivity_plan import DATA, NINE, Part, listing_parts, plan

from ocrslim.utils.files import write_text

OUTPUT = REPO / "output/sensitivity_benchmark"
PART = REPO / "benchmarks/sensitivity_part.py"
RESULTS = REPO / "benchmarks/sensitivity"
PARTS = ("peak", "paddleslim", "exact", "adaptive", "linear")


def main() -> int:
    """Measure what is not measured yet, print and write the tables; 1 where a part failed."""
    options = parse()
    if options.fresh:
        shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(options.out)
    try:
        bench.run(listing_parts(), "listing the groups")
        bench.run(plan(options, bench.results), "measuring")
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on", file=sys.stderr)
        return 130
    finally:
        report(options, bench)
    return 1 if bench.failed else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="data sets")
    several = "a number or all, one for each data set or one for both"
    parser.add_argument("--images", nargs="+", default=["all", "20"], help=f"for all ways: {several} (all 20)")
    several = f"for adaptive mode and --whole-table, if other ones: {several}"
    parser.add_argument("--adaptive-images", nargs="+", default=[None], help=several)
    parser.add_argument("--groups", type=int, default=8, help="groups that both ways measure (8)")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.1, 0.3, 0.5], help="multiples of 0.1")
    parser.add_argument("--linear-images", type=int, nargs="+", default=[10, 20, 40, 100])
    parser.add_argument("--linear-layers", type=int, nargs="+", default=[4, 8, 16, 29])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--whole-table", action="store_true", help="measure our whole table, once for each data set")
    parser.add_argument("--adaptive-all", action="store_true", help="adaptive mode also on all images of val.txt")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="working folder")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    options = parser.parse_args()
    options.out = options.out.resolve()
    if not set(options.ratios) <= set(NINE):
        parser.error(f"--ratios: PaddleSlim measures {NINE}; expected some of them")
    for name in ("images", "adaptive_images"):
        for asked in getattr(options, name):
            if asked not in (None, "all") and not re.fullmatch(r"[1-9]\d*", asked):
                parser.error(f"--{name.replace('_', '-')}: {asked}; expected a number of images, or all")
    if min(options.groups, *options.linear_images, *options.linear_layers) < 1:
        parser.error("numbers of images, groups and layers start at 1")
    return options


class Bench:
    """Runs parts and keeps what came out of them, one line of JSON for each that is finished.

    Attributes:
        results: by key of the part: request, answer (a list of them for several ranks), process, date, revision.
        failed: keys of the parts that failed this time.
    """

    def __init__(self, out: Path):
        self.failed: list[str] = []
        self._out, self._journal = out, FinishedParts(out / "parts.jsonl")
        self.results = self._journal.results

    def run(self, parts: Sequence[Part], what: str) -> None:
        """Run those that are not done, and say how long it may take."""
        left = [part for part in parts if not self.done(part)]
        count = len(self.results.get("groups of ours", {}).get("answer", {}).get("groups", ())) or 30
        minutes = sum(part.estimate(count) for part in left) / 60
        print(
            f"{what}: {len(parts)} parts, {len(left)} to do, about {minutes:.0f} minutes on 2 quiet cores", flush=True
        )
        for number, part in enumerate(left, 1):
            print(f"[{number}/{len(left)}] {part.key}: about {part.estimate(count):.0f} s ...", end=" ", flush=True)
            self._measure(part)

    def done(self, part: Part) -> bool:
        """Whether it was measured, with the same images, groups and ratios."""
        found = self.results.get(part.key)
        return found is not None and found["request"] == json.loads(json.dumps(asdict(part)))

    def _measure(self, part: Part) -> None:
        folder = self._out / part.key.replace(" ", "_").replace(",", "").replace("=", "_")
        if not self._goes_on(part, folder):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        request = asdict(part)
        (folder / "request.json").write_text(json.dumps({**request, "folder": str(folder)}), encoding="utf-8")
        began, measured = time.monotonic(), run_part(part, folder)
        answers = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("answer.*.json"))]
        if measured["status"] or len(answers) != part.ranks:
            self.failed.append(part.key)
            print(f"failed with status {measured['status']}: see {folder / 'log'}", flush=True)
            return
        answer = answers[0] if part.ranks == 1 else answers
        one = {"request": request, "answer": answer, "process": {**measured, "spawned": began}}
        one |= {"date": now(), "revision": revision()}
        self._journal.add(one)
        print(f"{measured['seconds']:.0f} s, {measured['pss_mib']} MiB", flush=True)

    def _goes_on(self, part: Part, folder: Path) -> bool:
        """Whether an interrupted part is continued: PaddleSlim's is, the others are measured in one go."""
        path = folder / "request.json"
        if part.way != "paddleslim" or not path.is_file():
            return False
        before = json.loads(path.read_text(encoding="utf-8"))
        return {**before, "folder": ""} == {**json.loads(json.dumps(asdict(part))), "folder": ""}


def run_part(part: Part, folder: Path) -> dict[str, Any]:
    """Run it in its own environment, its output into the folder's `log`; what `wait_for` says of it."""
    variables = environment()
    if part.mkl:
        variables["MKL_DEBUG_CPU_TYPE"] = "5"
    if part.way.startswith("paddleslim"):
        variables["FLAGS_enable_pir_api"] = "0"
    words = [sys.executable, "-W", "ignore"]
    if part.ranks > 1:
        logs = ["--log_dir", str(folder / "launch")]
        words += ["-m", "paddle.distributed.launch", "--nproc_per_node", str(part.ranks), *logs]
    for path in folder.glob("answer.*"):
        path.unlink()
    return run_logged([*words, str(PART), str(folder / "request.json")], folder / "log", variables)


def report(options: argparse.Namespace, bench: Bench) -> None:
    """Print the tables and write them, with what they were made from: also of parts that are not asked for now."""
    if not all(part.key in bench.results for part in listing_parts()):
        return
    everything = argparse.Namespace(
        **{**vars(options), "data": list(DATA), "parts": PARTS, "whole_table": True, "adaptive_all": True}
    )
    asked = [*listing_parts(), *plan(everything, bench.results), *plan(options, bench.results)]
    results = {part.key: bench.results[part.key] for part in asked if bench.done(part)}
    text = tables.document(results, describe(), revision(), bench.failed)
    target = RESULTS if options.out == OUTPUT else options.out / "sensitivity"
    write_text(target.with_suffix(".md"), f"{text}\n")
    raw = json.dumps({"machine": describe(), "parts": results})  # in one line: it has every image's counts
    write_text(target.with_suffix(".json"), raw + "\n")
    print(f"\n{text}\n\nwritten: {target}.md and .json", flush=True)


if __name__ == "__main__":
    sys.exit(main())
