"""One part of the recogniser's benchmark that no command of ocrslim does, in a process of its own.

    python benchmarks/recogniser_part.py cut|slim|score [...] -c CONFIG -o Section.key=value ...

Started by `benchmarks/recogniser.py`; the last line on standard output is the answer, as JSON.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import accuracy_ledger as ledger
from accuracy_part import Answer, answered, costs_of, held_against_dygraph, write
from machine import die_with_parent

CUT, PRUNED = "cut", "pruned"
COLUMNS = ("receipt", "lines", "read", "read_no_case", "read_alphanumeric", "similarity", "similarity_no_case")
_MOST = 0.9  # of a group's channels that PaddleSlim may remove


def main() -> int:
    """Do what the command line says."""
    die_with_parent()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)
    return answered(parse(), _run, training=False)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("cut", "slim", "score"):
        part = parts.add_parser(name)
        if name == "score":
            part.add_argument("--name", required=True, help="of the network, in the ledger")
            part.add_argument("--ledger", type=Path, required=True)
            part.add_argument("--test", type=Path, required=True, help="label file")
            part.add_argument("--again", action="store_true", help="though another network had this name")
        part.add_argument("-c", "--config", required=True)
        part.add_argument("-o", "--opt", nargs="+", default=[])
    return parser.parse_args()


def _run(options: argparse.Namespace, config: Any) -> Answer:
    if options.part == "cut":
        return cut(config)
    return slim(config) if options.part == "slim" else score(config, options)


def cut(config: Any) -> Answer:
    """Our network before training, as `ocrslim prune` makes it: as cut (`cut.*`), and refitted (`pruned.*`)."""
    from ocrslim.data.eval_set import scan_both
    from ocrslim.pruning.loading import load_base_network
    from ocrslim.pruning.prunable import load_prunable_network
    from ocrslim.pruning.surgery.cutting import apply_plan
    from ocrslim.selection.candidates import CandidateScores
    from ocrslim.selection.chooser import choose_plan

    began, data = time.monotonic(), scan_both(config)
    teacher, network = load_base_network(config), load_prunable_network(config, data[0])
    scores = CandidateScores(config, teacher, data)
    choice = choose_plan(network, partial(scores.score, config))
    apply_plan(network.model, choice.plan)
    network.model.eval()
    write(network.model, choice.plan, config.save_model_dir, CUT)
    chosen = time.monotonic()
    scores.refit(network.model, choice.plan)
    write(network.model, choice.plan, config.save_model_dir)
    seconds = {"choosing_seconds": chosen - began, "recovery_seconds": time.monotonic() - chosen}
    return {"plan": choice.plan.hash(), **seconds, **choice.to_json()}


def slim(config: Any) -> Answer:
    """PaddleSlim's way: FPGM by its own pruner on its own trace, one ratio for all its groups -> `pruned.*`.

    It traces the network as inference runs it. The one that training runs takes labels, which PaddleSlim's tracer
    cannot give it; what it says is in the answer.
    """
    from accuracy_paddleslim import group_names, own_pruner, prune_to

    from ocrslim.pruning.prunable import load_prunable_network

    network = load_prunable_network(config)
    shape, refusal = config.task.nominal_shape, ""
    try:
        own_pruner(network.model, shape, training=True)
    except Exception as error:  # whatever its tracer raises
        refusal = f"{type(error).__name__}: {error}".splitlines()[0]
    pruner = own_pruner(network.model, shape, training=False)
    names = group_names(pruner)
    model, plan, own = prune_to(config, network, pruner, lambda level: dict.fromkeys(names, _MOST * level))
    write(model, plan, config.save_model_dir)
    return {"plan": plan.hash(), "ratio": _MOST * own["tolerance"], "training_trace": refusal, **own}


def score(config: Any, options: argparse.Namespace) -> Answer:
    """A network on the validation and the test images, receipt by receipt; the ledger knows before test is read."""
    from ocrslim.models import state_arrays
    from ocrslim.pruning.loading import load_network
    from ocrslim.utils.hashing import hash_arrays

    network = load_network(config)
    weights, costs = hash_arrays(state_arrays(network.model)), costs_of(network, config)
    select = read_lines_of(network.model, config)
    ledger.begin(options.ledger, options.name, weights, options.again)
    test = read_lines_of(network.model, config.changed({"Eval.dataset.label_file_list": [str(options.test)]}))
    ledger.finish(options.ledger, options.name, weights)
    plan = network.plan.hash() if network.plan else None
    return {"select": select, "test": test, "weights": weights, "plan": plan, **costs}


def read_lines_of(model: Any, config: Any) -> Answer:
    """Counts of each receipt in the order of `COLUMNS`, accuracy, and the runtime's distance from dygraph."""
    from ocrslim.data.eval_set import EvalSet, scan_evaluation
    from ocrslim.evaluation import post_processor
    from ocrslim.inference.auto_engine import AutoEngine

    images, decode, receipts = EvalSet(scan_evaluation(config), config), post_processor(config), {}
    with AutoEngine(model, config.task).engine(images) as engine:
        for index in range(len(images)):
            output, item = engine(images.image(index)), images[index]
            row = receipts.setdefault(item.path.name, [0] * (len(COLUMNS) - 1))
            row[:] = [sum(pair) for pair in zip(row, compared(decode(output, item.shape).text, item.target))]
        check = held_against_dygraph(engine, model, images)
    rows = [[name, *row[:-2], *(round(one, 6) for one in row[-2:])] for name, row in receipts.items()]
    return {"receipts": rows, "acc": sum(row[2] for row in rows) / len(images), "check": check}


def compared(found: str, expected: str) -> tuple[float, ...]:
    """Counts of one line: 1; whether it is read, exactly, without case, by its digits and letters; similarities."""
    from ocrslim.tasks.recognition.metric import TextMetric

    strict, letters = TextMetric(ignore_space=False), TextMetric(ignore_space=False, is_filter=True)
    exact, no_case = strict.count(found, expected), strict.count(found.lower(), expected.lower())
    read = (exact.matched, no_case.matched, letters.count(found, expected).matched)
    return (1, *read, exact.similarity, no_case.similarity)


if __name__ == "__main__":
    sys.exit(main())
