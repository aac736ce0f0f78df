"""One part of the accuracy benchmark that no command of ocrslim does, in a process of its own.

    python benchmarks/accuracy_part.py recover|slim|speed|latency|score [...] -c CONFIG -o Section.key=value ...

Started by `benchmarks/accuracy.py`; the last line on standard output is the answer, as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import accuracy_ledger as ledger
import numpy as np
from machine import die_with_parent

Answer = dict[str, Any]
PRUNED, LATENCY = "pruned", "latency"
THREADS = (1, 2)
_CHECKED, _OFF = 2, 1e-3  # images also run in dygraph; how far the maps (0..1) may be apart: rounding reaches 1e-4
_WARM_UP, _FIRST = 3, 5  # passes and training steps that are not timed


def main() -> int:
    """Do what the command line says."""
    die_with_parent()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)
    options = parse()
    return answered(options, _run, training=options.part == "speed")


def answered(options: argparse.Namespace, work: Callable[[argparse.Namespace, Any], Answer], training: bool) -> int:
    """Print what `work` makes of the command line and its configuration, as JSON; the exit code.

    Args:
        options: with `config` and `opt`.
        training: whether Paddle is set up to train.
    """
    from ocrslim.config.config import load_config
    from ocrslim.errors import EXIT_CODE, OcrSlimError
    from ocrslim.utils.paddle_setup import import_paddle

    try:
        config = load_config(options.config, options.opt)
        import_paddle(training=training)
        answer = work(options, config)
    except (OcrSlimError, ledger.AlreadyScored) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    print(json.dumps(answer), flush=True)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("recover", "slim", "speed", "latency", "score"):
        part = parts.add_parser(name)
        part.add_argument("-c", "--config", required=True)
        part.add_argument("-o", "--opt", nargs="+", default=[])
        part.add_argument("--json", action="store_true", help="is always so")
        if name == "speed":
            part.add_argument("--stage", choices=("train", "prune"), required=True)
        if name == "latency":
            part.add_argument("--unpruned", required=True, help="checkpoint")
            part.add_argument("--passes", type=int, required=True)
        if name == "score":
            part.add_argument("--name", required=True, help="of the network, in the ledger")
            part.add_argument("--ledger", type=Path, required=True)
            part.add_argument("--again", action="store_true", help="though another network had this name")
    return parser.parse_args()


def _run(options: argparse.Namespace, config: Any) -> Answer:
    if options.part == "slim":
        from accuracy_paddleslim import prune

        return prune(config)
    if options.part == "recover":
        return recover(config)
    if options.part == "speed":
        return speed(config, options.stage)
    if options.part == LATENCY:
        return latency(config, options.unpruned, options.passes)
    return score(config, options)


def counts_of(engine: Any, config: Any, images: Any) -> list[Any]:
    """`ImageCounts` of each image."""
    from ocrslim.evaluation import Scorer

    found: list[Any] = []
    Scorer(config)(engine, images, counts=found)
    return found


def scored(model: Any, config: Any) -> Answer:
    """Counts and scores on the evaluation images, checked against dygraph on two of them."""
    from ocrslim.data.eval_set import EvalSet, scan_evaluation
    from ocrslim.inference.auto_engine import AutoEngine

    images = EvalSet(scan_evaluation(config), config)
    with AutoEngine(model, config.task).engine(images) as engine:
        counts = counts_of(engine, config, images)
        check = held_against_dygraph(engine, model, images)
    return {"counts": [list(one) for one in counts], "scores": config.task.scores(counts), "check": check}


def held_against_dygraph(engine: Any, model: Any, images: Any) -> list[float]:
    """Largest difference of the maps, image by image.

    Raises:
        SystemExit: it is more than rounding.
    """
    from ocrslim.inference.engines import DygraphEngine

    reference, found = DygraphEngine(model), []
    for index in range(min(_CHECKED, len(images))):
        image = images.image(index)
        found.append(float(np.abs(engine(image) - reference(image)).max()))
        if not found[-1] <= _OFF:
            raise SystemExit(f"the runtime is off by {found[-1]:.1e} on image {index}, expected at most {_OFF:g}")
    return found


def recover(config: Any) -> Answer:
    """Our network before training, chosen, cut and refitted as `ocrslim prune` does -> `pruned.pdparams`, its plan."""
    from ocrslim.data.eval_set import scan_both
    from ocrslim.pruning.loading import load_base_network
    from ocrslim.pruning.prunable import load_prunable_network
    from ocrslim.pruning.surgery.cutting import apply_plan
    from ocrslim.selection.candidates import CandidateScores
    from ocrslim.selection.chooser import choose_plan

    data = scan_both(config)
    teacher, network = load_base_network(config), load_prunable_network(config, data[0])
    choice = choose_plan(network, partial(CandidateScores(config, teacher, data).score, config))
    apply_plan(network.model, choice.plan)
    network.model.eval()
    as_cut, start = scored(network.model, config)["scores"], time.monotonic()
    CandidateScores(config, teacher, data).refit(network.model, choice.plan)  # one that has not done it yet
    own = {"as_cut": as_cut, "recovery_seconds": time.monotonic() - start, **choice.to_json()}
    return {**keep(network.model, choice.plan, config), **own}


def keep(model: Any, plan: Any, config: Any) -> Answer:
    """Write `pruned.pdparams` with its plan; what it scores on the images that choices are made by."""
    write(model, plan, config.save_model_dir)
    return {"select": scored(model, config)["scores"], "plan": plan.hash()}


def write(model: Any, plan: Any, folder: Path, name: str = PRUNED) -> None:
    """Write a pruned network to `folder`, as a checkpoint with its plan."""
    from ocrslim.formats import PLAN_SUFFIX
    from ocrslim.models import save_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder / f"{name}{PLAN_SUFFIX}")
    save_checkpoint(model, folder / f"{name}.pdparams")


class _Enough(Exception):
    """All steps are timed."""


def speed(config: Any, stage: str) -> Answer:
    """Seconds of one core's time a training step takes, data and all, over two epochs of what `stage` would train.

    By this process's CPU time on one thread: other programs do not change it much.
    """
    from ocrslim import commands
    from ocrslim.training.monitoring.console import Display

    marks: list[float] = []
    steps: list[int] = []

    def mark(display: Any, status: Any) -> None:
        marks.append(time.process_time())
        steps[:] = [status.span.steps]
        if len(marks) == steps[0]:
            raise _Enough

    with mock.patch.object(Display, "on_step", mark), contextlib.suppress(_Enough):
        {"train": commands.run_train, "prune": commands.run_prune}[stage](config)
    first = min(_FIRST, len(marks) // 2)
    seconds = (marks[-1] - marks[first - 1]) / (len(marks) - first)
    return {
        "seconds_per_step": seconds,
        "steps_per_epoch": steps[0] // int(config.get("Global.epoch_num")),
        "steps": len(marks) - first,
    }


def latency(config: Any, unpruned: str, passes: int) -> Answer:
    """Milliseconds of a pass through the exports of the pruned and the unpruned network, in turns."""
    from ocrslim.inference.engines import InferenceEngine
    from ocrslim.inference.latency import times_in_turns
    from ocrslim.pruning.loading import load_network

    network = load_network(config)
    image = np.random.default_rng(0).standard_normal(config.task.nominal_shape).astype(np.float32)
    found: Answer = {"plan": network.plan.hash(), "shape": list(config.task.nominal_shape), "threads": {}}
    with tempfile.TemporaryDirectory(dir=config.save_model_dir.parent) as place:
        folders = [_exported(config, name, Path(place) / str(at)) for at, name in enumerate((unpruned, config.weights))]
        for threads in THREADS:
            engines = [InferenceEngine(folder, threads=threads, onednn=True) for folder in folders]
            times = times_in_turns(engines, image, passes, _WARM_UP)
            found["threads"][str(threads)] = {**in_turns(*times), "kernels": [one.kernels for one in engines]}
    return found


def _exported(config: Any, weights: str, folder: Path) -> Path:
    """An inference model of a checkpoint, as `ocrslim export` makes it."""
    from ocrslim.commands.export import run_export
    from ocrslim.config.config import Config

    tree = json.loads(json.dumps(config.tree))
    tree["Global"] |= {"pretrained_model": str(weights), "save_inference_dir": str(folder)}
    with contextlib.redirect_stdout(sys.stderr):
        run_export(Config(config.path, tree))
    return folder


def in_turns(full: list[float], part: list[float]) -> Answer:
    """Medians, and the quartiles of what each pass of the pruned network took of the unpruned one's beside it."""
    ratios = [one / other for one, other in zip(part, full)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "unpruned_ms": statistics.median(full),
        "ms": statistics.median(part),
        "ratio": middle,
        "ratio_quartiles": [low, high],
        "passes": len(full),
    }


def score(config: Any, options: argparse.Namespace) -> Answer:
    """A final network on the test images; entered in the ledger before they are read."""
    from ocrslim.models import state_arrays
    from ocrslim.pruning.loading import load_network
    from ocrslim.utils.hashing import hash_arrays

    network = load_network(config)
    weights, costs = hash_arrays(state_arrays(network.model)), costs_of(network, config)
    ledger.begin(options.ledger, options.name, weights, options.again)
    found = scored(network.model, config)
    ledger.finish(options.ledger, options.name, weights)
    plan = network.plan.hash() if network.plan else None
    return {**found, "images": len(found["counts"]), "weights": weights, "plan": plan, **costs}


def costs_of(network: Any, config: Any) -> Answer:
    """MACs and parameters, unpruned and of this network."""
    from ocrslim.models.factory import build_model
    from ocrslim.pruning.cost import measure_cost
    from ocrslim.pruning.prunable import model_graph

    graph = model_graph(build_model(config.section("Architecture")), config.task)
    full, cost = measure_cost(graph), measure_cost(graph, network.plan.cuts if network.plan else ())
    return {"macs": [full.macs, cost.macs], "params": [full.params, cost.params]}


if __name__ == "__main__":
    sys.modules.setdefault("accuracy_part", sys.modules["__main__"])  # so that it is not run twice
    sys.exit(main())
