"""Seconds per point of the exact mode against PaddleSlim's way, for any configuration that the scripts take.

    python benchmarks/points.py -c configs/rec/PP-OCRv4/....yml -o Global.pretrain_weights=... --images 100 --groups 6

A point is one group pruned by one ratio and scored on the images. PaddleSlim's way: cut the network in place, run all
images in dygraph, each decoded again as PaddleOCR's evaluation does, and put the network back. Ours: a variant on the
runtime in this process, what does not change computed once for all points of a group, decoded images kept. Both run in
one thread, group by group in turns, and have to count the same. Seconds are of this process's CPU, which other
processes on the machine disturb least; the wall clock stands beside them. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from machine import describe, revision  # noqa: E402

SLOW, FAST = "PaddleSlim's way", "exact mode"


@dataclass
class Way:
    """What one way took: CPU and wall seconds of each point, and the counts of its images."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    counts: list[list[Any]] = field(default_factory=list)

    def measure(self, run: Any) -> None:
        """Measure one point, which `run` gives the counts of."""
        cpu, wall = time.process_time(), time.perf_counter()
        counts = list(run())
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        self.counts.append(counts)


def main() -> int:
    """Measure and print; 1 where the two ways count differently."""
    options = parse()
    from ocrslim.config import load_config
    from ocrslim.utils import import_paddle

    import_paddle()
    config = load_config(options.config, ["Global.use_gpu=false", *options.o])
    from ocrslim.sensitivity.run import problem_of

    problem = problem_of(config)
    groups = spread(list(problem.groups), options.groups)
    ways, setup = measure(problem, groups, options)
    points = len(ways[SLOW].cpu)
    factors = {kind: sum(getattr(ways[SLOW], kind)) / sum(getattr(ways[FAST], kind)) for kind in ("cpu", "wall")}
    print(
        f"\n{options.config}: {points} points of {options.images} images, {len(groups)} of {len(problem.groups)} groups"
    )
    for name, way in ways.items():
        print(f"{name:18} {sum(way.cpu) / points:8.2f} s CPU a point, {sum(way.wall) / points:8.2f} s")
    print(f"{factors['cpu']:.1f} times (wall clock {factors['wall']:.1f}); {setup:.1f} s once for the runtime")
    differ = sum(one != other for one, other in zip(ways[SLOW].counts, ways[FAST].counts))
    answer = {"config": str(options.config), "images": options.images, "groups": groups, "ratios": options.ratios}
    seconds = {name: {"cpu": way.cpu, "wall": way.wall} for name, way in ways.items()}
    answer |= {"seconds": seconds, "factor": factors, "setup": setup, "points_that_count_differently": differ}
    print(json.dumps({**answer, "machine": describe(), "revision": revision()}))
    return 1 if differ else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("-o", nargs="+", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--images", type=int, default=20, help="the first ones of the evaluation set (20)")
    parser.add_argument("--groups", type=int, default=6, help="spread evenly over the network (6)")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    return parser.parse_args()


def spread(names: Sequence[str], count: int) -> list[str]:
    """`count` of `names`, evenly spread over them."""
    count = min(count, len(names))
    return [names[place * len(names) // count] for place in range(count)]


def measure(problem: Any, groups: Sequence[str], options: argparse.Namespace) -> tuple[dict[str, Way], float]:
    """Measure all points both ways; also the CPU seconds that the runtime takes once."""
    from ocrslim.data import EvalSet
    from ocrslim.evaluation import Scorer
    from ocrslim.inference import ActivationCache, GroupRunner, RuntimeNetwork, arrays_of, traced_for_task
    from ocrslim.sensitivity.workers.measure import Measurer
    from ocrslim.sensitivity.workers.messages import Job
    from ocrslim.sensitivity.workers.variants import DygraphRunner, DygraphVariants, RuntimeVariants
    from ocrslim.utils import GIB, Clock

    scorer, clock, task, pruner = Scorer(problem.config), Clock(), problem.task, problem.pruner()
    kept = EvalSet(problem.labelled, problem.config, 2 * GIB)
    again = EvalSet(problem.labelled, problem.config, memory=0)
    order = range(min(options.images, len(kept)))
    began = time.process_time()
    network = RuntimeNetwork(traced_for_task(problem.model, task), arrays_of(problem.model), task.probe_shape)
    setup = time.process_time() - began
    cache = ActivationCache(network, kept, 2 * GIB, None, clock)
    slow = DygraphRunner(problem.model, again, clock)
    made = {
        SLOW: (Measurer(lambda _: slow, again, order, scorer, clock), DygraphVariants({}, lambda: pruner)),
        FAST: (
            Measurer(lambda variant: GroupRunner(network, variant.group, cache), kept, order, scorer, clock),
            RuntimeVariants(problem.model, problem.graph, kept, lambda: pruner, task),
        ),
    }
    ways = {name: Way() for name in made}
    for group in groups:
        for name, (measurer, variants) in made.items():
            for ratio in options.ratios:
                ways[name].measure(
                    lambda g=group, r=ratio, m=measurer, v=variants: m.measure(
                        Job(g, r, 0, len(order), v.variant(g, r))
                    )
                )
            measurer.close()
            print(f"{group}, {name}: {ways[name].cpu[-1]:.2f} s", file=sys.stderr, flush=True)
    return ways, setup


if __name__ == "__main__":
    sys.exit(main())
