"""PaddleSlim's way to measure sensitivities: its own tracer, its own `sensitive`, a plain dygraph evaluation."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensitivity_part import BEGAN, Answer, configuration, point

_TRACED = (1, 3, 640, 640)


def _pruner(config: Any) -> tuple[Any, Any]:
    """The network, and PaddleSlim's own `FPGMFilterPruner` with its own tracer on it.

    Two things make it run on paddlepaddle 3.1.1: FLAGS_enable_pir_api=0 in the environment, and one alias.
    """
    from ocrslim.utils.paddle_setup import import_paddle

    import_paddle()
    from paddle.base.dygraph import base

    base._to_static_mode_guard_ = base.to_static_mode_guard  # the name that PaddleSlim knows it by
    from paddleslim.dygraph import FPGMFilterPruner

    from ocrslim.pruning.loading import load_base_network

    model = load_base_network(config).model
    model.train()  # so that it sees the branch that only training runs, as in PaddleOCR's script
    pruner = FPGMFilterPruner(model, list(_TRACED))
    for name in logging.root.manager.loggerDict:
        if name.startswith("paddleslim"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # it logs every plan
    return model, pruner


def groups(request: Answer) -> Answer:
    """The groups that PaddleSlim finds and would measure, by state-dict key."""
    model, pruner = _pruner(configuration(request))
    keys = {parameter.name: key for key, parameter in model.named_parameters()}
    names = [collection.master_name for collection in pruner.collections]
    return {"groups": [keys[name] for name in names if name not in pruner.skip_vars]}


def measure(request: Answer) -> Answer:
    """PaddleSlim's `sensitive` with a plain dygraph evaluation, every image decoded each time.

    `sensitive` always measures 0.1 .. 0.9. Ratios that are not wanted are put into its table beforehand, and it
    skips what it has; what an interrupted run measured is put there too.
    """
    from ocrslim.data.eval_set import EvalSet, scan_evaluation

    config = configuration(request)
    folder = Path(request["folder"])
    model, pruner = _pruner(config)
    images = EvalSet(scan_evaluation(config), config, memory=0)
    names = {key: parameter.name for key, parameter in model.named_parameters()}
    wanted = [(group, ratio) for group in request["groups"] for ratio in request["ratios"]]
    evaluation = _Evaluation(model, images, config, folder / "points.jsonl", _order(pruner, names, wanted))
    known = {(p["group"], p["ratio"]): p["loss"] for p in evaluation.known}
    for group in request["groups"]:
        table = {round(0.1 * step, 1): 0.0 for step in range(1, 10)}
        for ratio in request["ratios"]:
            table.pop(ratio)
            if (group, ratio) in known:
                table[ratio] = known[group, ratio]
        pruner._status.sensitivies[names[group]] = table
    if len(known) < len(wanted):
        evaluation.start()
        (folder / "paddleslim.pickle").unlink(missing_ok=True)
        targets = [names[group] for group in request["groups"]]
        pruner.sensitive(evaluation, str(folder / "paddleslim.pickle"), target_vars=targets, skip_vars=[])
    table = pruner._status.sensitivies
    seconds = [p["seconds"] for p in evaluation.points]
    return {
        "points": len(wanted),
        "point_seconds": {point(p["group"], p["ratio"]): p["seconds"] for p in evaluation.points},
        "whole_seconds": None if known else time.monotonic() - BEGAN,
        "seconds_per_point": sum(seconds) / len(seconds),
        "losses": {point(group, ratio): float(table[names[group]][ratio]) for group, ratio in wanted},
        "counts": {point(p["group"], p["ratio"]): p["counts"] for p in evaluation.points},
        "baseline_counts": evaluation.baseline,
        "threads": {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
    }


def _order(pruner: Any, names: dict[str, str], wanted: Sequence[tuple[str, float]]) -> list[Any]:
    """The points in the order in which `sensitive` comes to them."""
    groups = {name: group for group, name in names.items()}
    order = [groups[c.master_name] for c in pruner.collections if c.master_name in groups]
    return sorted(wanted, key=lambda one: (order.index(one[0]), one[1]))


class _Evaluation:
    """The `eval_func` of PaddleSlim. Keeps each point's time and counts in a file, so that a rerun goes on.

    A point's time runs from the end of the evaluation before to the end of its own: restoring and saving what
    PaddleSlim has of the point before, pruning, and evaluating. What is kept here for the benchmark is left out.
    """

    def __init__(self, model: Any, images: Any, config: Any, path: Path, points: Sequence[tuple[str, float]]):
        from ocrslim.evaluation import Scorer
        from ocrslim.inference.engines import DygraphEngine

        self._engine, self._images, self._path = DygraphEngine(model), images, path
        self._scorer = Scorer(config)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        self.known = [json.loads(line) for line in lines if line.endswith("\n")]
        path.write_text("".join(json.dumps(one) + "\n" for one in self.known), encoding="utf-8")
        self.points = list(self.known)
        done = {(p["group"], p["ratio"]) for p in self.known}
        self._left = [one for one in points if one not in done]
        self.baseline: list[list[int]] = self.known[0]["baseline"] if self.known else []
        self._score: float | None = None

    def start(self) -> None:
        """PaddleSlim begins."""
        self._last = time.monotonic()

    def __call__(self) -> float:
        counts: list[Any] = []
        score = self._scorer(self._engine, self._images, counts=counts)["hmean"]
        seconds = time.monotonic() - self._last
        self._take(score, seconds, [list(one) for one in counts])
        self._last = time.monotonic()
        return score

    def _take(self, score: float, seconds: float, counts: list[list[int]]) -> None:
        from ocrslim.pruning.loss_rules import loss_of

        if self._score is None:  # the first evaluation is the unpruned network
            self._score, self.baseline = score, counts
            return
        group, ratio = self._left[len(self.points) - len(self.known)]
        loss = loss_of(self._score, score)
        one = {"group": group, "ratio": ratio, "seconds": seconds, "loss": loss, "counts": counts}
        self.points.append(one)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**one, "baseline": self.baseline}) + "\n")
