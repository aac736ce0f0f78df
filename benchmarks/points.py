"""Seconds per point of the exact mode against PaddleSlim's way, for any configuration that the scripts take.

    python benchmarks/points.py "PP-OCRv4 mobile rec" -c configs/rec/PP-OCRv4/....yml -o Global.pretrain_weights=... \
        --images 200
    python benchmarks/points.py "PP-OCRv4 mobile det, folder" --model ch_PP-OCRv4_det_infer --task det -o ...

A point is one group pruned by one ratio and scored on the images. PaddleSlim's way: cut the network in place, run all
images in dygraph, each decoded again as PaddleOCR's evaluation does, and put the network back. Ours: a variant on the
runtime in this process, what does not change computed once for all points of a group, decoded images kept. Both run in
one thread, group by group in turns, and have to count the same. Seconds are of this process's CPU, which other
processes on the machine disturb least; the wall clock stands beside them.

Ours measures all nine ratios of a group, as the command does, so that what is done once for a group counts a ninth in
each point; PaddleSlim's way measures some of them. What both ways need once is left out: scores of the channels,
decoding, the unpruned network. Written to `points.json` and `points.md`, where other networks stay, after each group;
the same command goes on behind the last group that `--out` has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from machine import describe, revision  # noqa: E402
from paths import portable  # noqa: E402
from points_tables import FAST, SLOW, document, summary  # noqa: E402

RESULTS = Path(__file__).with_name("points.json")
RATIOS = [round(0.1 * step, 1) for step in range(1, 10)]
Point = dict[str, Any]


def main() -> int:
    """Measure, print and write; 1 where the two ways count differently."""
    options = parse()
    command = " ".join(["python benchmarks/points.py", *(f"'{one}'" if " " in one else one for one in sys.argv[1:])])
    from ocrslim.config import load_config, load_model_config
    from ocrslim.utils import import_paddle

    import_paddle()
    settings = ["Global.use_gpu=false", *options.o]
    if options.model:
        config = load_model_config(options.model, options.config, settings, options.task)
    else:
        config = load_config(options.config, settings)
    from ocrslim.sensitivity.run import problem_of

    problem = problem_of(config)
    groups = spread(list(problem.groups), options.groups)
    began = time.process_time()
    bench = Bench(problem, options.images)
    answer = {"command": command, "images": bench.images, "pixels": bench.pixels, "groups": len(problem.groups)}
    answer |= {"setup": time.process_time() - began, "machine": describe(), "revision": revision()}
    nominal = config.task.nominal_shape
    answer["macs"] = round(problem.graph.macs * bench.pixels / (bench.images * nominal[2] * nominal[3]))
    answer["points"] = []
    for points in measured(bench, groups, options):
        answer["points"] += points
        write(
            options.name,
            portable(answer, *(path.parent for path in (options.config, options.model, options.out) if path)),
        )
    print("\n".join(summary(options.name, answer)))
    return 1 if any(point["differs"] for point in answer["points"]) else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the rows in the results")
    parser.add_argument("-c", "--config", type=Path)
    parser.add_argument("--model", type=Path, help="an inference folder, an ONNX file or a checkpoint")
    parser.add_argument("--task", help="of a model that nothing configures: det, rec or cls")
    parser.add_argument("-o", nargs="+", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--images", type=int, default=20, help="the first ones of the evaluation set (20)")
    parser.add_argument("--groups", type=int, default=6, help="spread evenly over the network (6)")
    parser.add_argument("--slow-ratios", type=float, nargs="+", default=[0.1, 0.5, 0.9], help="of PaddleSlim's way")
    parser.add_argument("--out", type=Path, default=Path("output/points.jsonl"), help="keeps what is measured so far")
    options = parser.parse_args()
    if not (options.config or options.model):
        parser.error("expected -c CONFIG, or --model MODEL")
    return options


def write(name: str, answer: dict[str, Any]) -> None:
    """Put the results of one network beside those of the others."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    results[name] = answer
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(document(results), encoding="utf-8")


def spread(names: Sequence[str], count: int) -> list[str]:
    """`count` of `names`, evenly spread over them."""
    count = min(count, len(names))
    return [names[(2 * place + 1) * len(names) // (2 * count)] for place in range(count)]


def measured(bench: Bench, groups: Sequence[str], options: argparse.Namespace) -> Iterator[list[Point]]:
    """Yield the points of each group, from the file where it has them."""
    key = {"name": options.name, "images": bench.images, "slow": options.slow_ratios, "revision": revision()}
    lines = options.out.read_text().splitlines() if options.out.is_file() else []
    known = {one["group"]: one["points"] for one in map(json.loads, lines) if one["key"] == key}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for group in groups:
        points = known.get(group)
        if points is None:
            points = bench.measure(group, options.slow_ratios)
            with options.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"key": key, "group": group, "points": points}) + "\n")
        for way in (SLOW, FAST):
            cpu = [point["cpu"] for point in points if point["way"] == way]
            print(f"{group}, {way}: {sum(cpu) / len(cpu):.2f} s a point", file=sys.stderr, flush=True)
        yield points


class Bench:
    """Both ways over one network and one set of images."""

    def __init__(self, problem: Any, images: int):
        from ocrslim.data import EvalSet
        from ocrslim.evaluation import Scorer
        from ocrslim.inference import ActivationCache, GroupRunner, RuntimeNetwork, arrays_of, traced_for_task
        from ocrslim.sensitivity.workers.measure import Measurer
        from ocrslim.sensitivity.workers.variants import DygraphRunner, DygraphVariants, RuntimeVariants
        from ocrslim.utils import GIB

        scorer, task, pruner = Scorer(problem.config), problem.task, problem.pruner()
        kept = EvalSet(problem.labelled, problem.config, 2 * GIB)
        again = EvalSet(problem.labelled, problem.config, memory=0)
        order = range(min(images, len(kept)))
        self.images, self.pixels = len(order), sum(kept.image(at)[0, 0].size for at in order)
        network = RuntimeNetwork(traced_for_task(problem.model, task), arrays_of(problem.model), task.probe_shape)
        self.clocks = {name: cpu_clock() for name in (SLOW, FAST)}
        cache = ActivationCache(network, kept, 2 * GIB, None, self.clocks[FAST])
        slow = DygraphRunner(problem.model, again, self.clocks[SLOW])
        fast = RuntimeVariants(problem.model, problem.graph, kept, lambda: pruner, task)
        proof, clock = fast._proof, self.clocks[FAST]

        def timed(*arguments: Any) -> Any:
            with clock.on("proof"):
                return proof(*arguments)

        fast._proof = timed  # type: ignore[method-assign]
        self.measurers = {
            SLOW: Measurer(lambda _: slow, again, order, scorer, self.clocks[SLOW]),
            FAST: Measurer(lambda variant: GroupRunner(network, variant.group, cache), kept, order, scorer, clock),
        }
        self.variants: dict[str, Any] = {SLOW: DygraphVariants({}, lambda: pruner), FAST: fast}
        for name in problem.groups:
            pruner.removed(name, 0.5)  # scores its channels, which both ways take from there
        self._point(
            FAST, None, 0.0
        )  # the unpruned network, as the command does first: images are decoded, and all loaded

    def measure(self, group: str, slow_ratios: Sequence[float]) -> list[Point]:
        """Measure the points of a group, in turns."""
        points = [self._point(FAST, group, ratio) for ratio in RATIOS]
        self.measurers[FAST].close()
        slow = [self._point(SLOW, group, ratio) for ratio in slow_ratios]
        self.measurers[SLOW].close()
        counts = {point["ratio"]: point.pop("counts") for point in points}
        for point in slow:
            point["differs"] = sum(one != other for one, other in zip(point.pop("counts"), counts[point["ratio"]]))
        return [*points, *slow]

    def _point(self, way: str, group: str | None, ratio: float) -> Point:
        from ocrslim.sensitivity.workers.messages import Job

        clock = self.clocks[way]
        clock.seconds.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        with clock.on("variant"):
            variant = self.variants[way].variant(group, ratio)
        counts = list(self.measurers[way].measure(Job(group, ratio, 0, self.images, variant)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        parts = dict(clock.seconds)
        return {
            "way": way,
            "group": group,
            "ratio": ratio,
            "cpu": cpu,
            "wall": wall,
            "parts": parts,
            "counts": counts,
            "differs": 0,
        }


def cpu_clock() -> Any:
    """A `Clock` of this process's CPU seconds; a block inside another is taken off the outer one."""
    from ocrslim.utils import Clock

    class CpuClock(Clock):
        @contextmanager
        def on(self, what: str) -> Iterator[None]:
            start, before = time.process_time(), sum(self.seconds.values())
            try:
                yield
            finally:
                inside = sum(self.seconds.values()) - before
                self.seconds[what] += time.process_time() - start - inside

    return CpuClock()


if __name__ == "__main__":
    sys.exit(main())
