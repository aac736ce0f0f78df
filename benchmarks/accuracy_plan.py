"""The parts of the accuracy benchmark: which commands are run, on what, in which order."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accuracy_data import SHARED, Labels

CONFIG = "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"
# ours by default, without a sensitivity table; and before plans competed (revision 39f3f05 and earlier): by the table,
# for networks that are not trained, and by errors relative to the variance of a layer alone, for those that are
UNPRUNED, PADDLESLIM, DEFAULT = "unpruned", "PaddleSlim", "ocrslim by default"
OURS, REBUILT = "ocrslim", "ocrslim by reconstruction"
ALL_OURS = (DEFAULT, OURS, REBUILT)
_BY_RECONSTRUCTION = ("Prune.criterion=reconstruction", "Prune.skip_first=0")
_TRIALS = 0.2  # of the epochs of a training by default go on top, to short ones that plans are compared by
RESIZE = {"sroie": "{limit_side_len: 960, limit_type: max}", "icdar2015": "{image_shape: [736, 1280]}"}
EVALUATIONS = 8  # of a training, beside those before its first and after its last step
LATENCY, MACS = "latency", "macs"
ONE_CORE = ("speed", "train")  # on one thread: another training can run beside it, and takes nothing from its budget
_OCRSLIM, _PART = ("-m", "ocrslim"), ("benchmarks/accuracy_part.py",)
# seconds to estimate by
_SECONDS = {"weights": 10, "table": 400, "prune": 90, "speed": 180, "latency": 60, "score": 90}
_EVALUATING = 30

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        key: its name in tables and files.
        kind: weights, table, prune, speed, train, latency or score.
        words: of the command, behind `python`; a list of configuration entries comes last.
        data, way, point, seed: the network that it is about; "" and 0 where that is left open.
        budget: minutes that this network has been trained for; 0: as it was before.
        needs: keys of the parts whose results it builds on.
        speed: key of the part that tells how many epochs the budget of a training is.
    """

    key: str
    kind: str
    words: tuple[str, ...]
    data: str = ""
    way: str = ""
    point: str = ""
    seed: int = 0
    budget: float = 0.0
    needs: tuple[str, ...] = ()
    speed: str = ""

    def estimate(self) -> float:
        """Seconds that it may take."""
        if self.kind == "train":
            return 60 * self.budget + (EVALUATIONS + 2) * _EVALUATING
        return _SECONDS[self.kind]

    @property
    def variables(self) -> dict[str, str]:
        """What its environment has beside the caller's."""
        fast = {"MKL_DEBUG_CPU_TYPE": "5"}
        return {**fast, "OMP_NUM_THREADS": "1"} if self.kind in ONE_CORE else fast

    def command(self, results: Results) -> tuple[str, ...]:
        """`words`, and for a training the number of its epochs, from the speed that was measured."""
        if not self.speed:
            return self.words
        minutes = self.budget / (1 + _TRIALS) if self.way == DEFAULT else self.budget
        epochs, every = schedule(minutes, results[self.speed]["answer"])
        return (*self.words, f"Global.epoch_num={epochs}", f"Global.eval_batch_step=[0,{every}]")

    def request(self, results: Results) -> dict[str, Any]:
        """What its result depends on, as JSON gives it back: the command, and what came out of the parts before."""
        before = {key: _digest(results[key]["answer"]) for key in self.needs}
        known = {**asdict(self), "command": self.command(results), "before": before}
        return json.loads(json.dumps(known))


def schedule(minutes: float, speed: Mapping[str, float]) -> tuple[int, int]:
    """Epochs that fit into so many minutes of steps on one core, one at least, and steps between evaluations.

    Args:
        speed: `seconds_per_step`, of one core's time, and `steps_per_epoch`.
    """
    per_epoch = int(speed["steps_per_epoch"])
    epochs = max(1, int(60 * minutes / (speed["seconds_per_step"] * per_epoch)))
    return epochs, max(1, -(-epochs * per_epoch // EVALUATIONS))


def folder_of(out: Path, key: str) -> Path:
    """Where a part writes to."""
    return out / re.sub(r"[^\w.]+", "_", key)


def parse_point(text: str) -> str:
    """`macs=0.6` and the like, checked.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    if not re.fullmatch(r"(macs|params|latency)=0?\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected macs=, params= or latency= and a fraction, as macs=0.6")
    return text


@dataclass(frozen=True)
class Planner:
    """Makes the parts of one data set.

    Attributes:
        options: the command line.
        labels: of the data set.
    """

    data: str
    options: argparse.Namespace
    labels: Labels
    onnx: Path

    def parts(self) -> Iterator[Part]:
        """All of them; what the most results hang on comes first."""
        yield self.weights()
        yield self.table()
        for way, point, seed in self.pruned():
            yield self.prune(way, point, seed)
        for way, point in dict.fromkeys((way, point) for way, point, _ in self.pruned()):
            yield self.latency(way, point)
        yield self.score(UNPRUNED, "", 0)
        for way, point, seed in self.pruned():
            if way in ALL_OURS:
                yield self.score(way, point, seed)
        for way, point, seed, budget in self.trainings():
            if seed == self.options.seeds[0]:
                yield self.speed(way, point)
            yield self.train(way, point, seed, budget)
            yield self.score(way, point, seed, budget)

    def points(self) -> list[str]:
        """All points that networks are pruned to."""
        return list(dict.fromkeys([*self.headline(), *self.curve()]))

    def headline(self) -> list[str]:
        """The points that get the long budget, and every seed; SROIE's alone."""
        return self.options.headline if self.data == "sroie" else []

    def curve(self) -> list[str]:
        """The points that get the short budget, with one seed: of ICDAR 2015 the headline and the last of the curve."""
        if self.data == "sroie":
            return self.options.points
        return [*self.options.headline, *self.options.points[-1:]]

    def pruned(self) -> list[tuple[str, str, int]]:
        """Networks before training: way, point, seed. PaddleSlim's way knows MACs alone, and has no seed."""
        theirs = [(PADDLESLIM, point, 0) for point in self.points() if point.startswith(MACS)]
        return [*theirs, *((way, point, self.options.seeds[0]) for way in ALL_OURS for point in self.points())]

    def trainings(self) -> list[tuple[str, str, int, float]]:
        """Way, point, seed, minutes of what is trained: first all with the first seed."""
        seeds, short, long = self.options.seeds, self.options.minutes, self.options.headline_minutes
        found = [(way, point, seed, long) for seed in seeds for way, point in _ways(self.headline())]
        found += [(way, point, seeds[0], short) for way, point in _ways(self.curve())]
        return sorted((one for one in dict.fromkeys(found) if one[3]), key=lambda one: one[2] != seeds[0])

    def key(self, way: str, point: str, seed: int, *more: str) -> str:
        """The name of a part about a network."""
        named = [self.data, way, point, f"seed {seed}" if seed else "", *more]
        return ", ".join(part for part in named if part)

    def folder(self, key: str) -> Path:
        """Where the part writes to."""
        return folder_of(self.options.out, key)

    def weights(self) -> Part:
        """The detector's weights as a checkpoint, once, so that all networks have one training-only branch."""
        words = (*_OCRSLIM, "import-weights", "-c", CONFIG, str(self.onnx), f"{self.start}.pdparams")
        return Part("weights", "weights", (*words, "--json", "-o", "Global.use_gpu=false"))

    @property
    def start(self) -> Path:
        """The unpruned network, as it comes."""
        return self.folder("weights") / "pp_ocrv2"

    def table(self) -> Part:
        """The sensitivity table."""
        key = f"{self.data}, table"
        words = (*_OCRSLIM, "sensitivity", *self.common(key, self.start), *self.options.table_options)
        return Part(key, "table", words, self.data, needs=("weights",))

    def prune(self, way: str, point: str, seed: int) -> Part:
        """A network before training."""
        key, stage = self.key(way, point, seed, "pruned"), "slim" if way == PADDLESLIM else "recover"
        words = (*_PART, stage, *self.common(key, self.start), *self.pruning(way, point, seed), *self.data_to_train())
        return Part(key, "prune", words, self.data, way, point, seed, needs=self.chosen_by(way))

    def chosen_by(self, way: str) -> tuple[str, ...]:
        """What a choice of channels builds on."""
        return ("weights",) if way in (DEFAULT, REBUILT) else (f"{self.data}, table",)

    def checkpoint(self, way: str, point: str, seed: int, budget: float = 0.0) -> tuple[Path, str]:
        """Where a network lies, and the part that makes it."""
        if budget:
            key = self.key(way, point, seed, trained_for(budget))
            return self.folder(key) / "best_accuracy", key
        if way == UNPRUNED:
            return self.start, "weights"
        key = self.key(way, point, 0 if way == PADDLESLIM else seed, "pruned")
        return self.folder(key) / "pruned", key

    def latency(self, way: str, point: str) -> Part:
        """Times of a pruned network beside the unpruned one's; training does not change them."""
        key = self.key(way, point, 0, LATENCY)
        network, made_by = self.checkpoint(way, point, self.options.seeds[0])
        asked = ("--unpruned", str(self.start), "--passes", str(self.options.passes))
        words = (*_PART, LATENCY, *asked, *self.common(key, network))
        return Part(key, LATENCY, words, self.data, way, point, needs=(made_by,))

    def speed(self, way: str, point: str) -> Part:
        """Seconds of a training step."""
        key = self.key(way, point, 0, "speed")
        stage, options, needs = self.training(way, point, self.options.seeds[0], key)
        words = (*_PART, "speed", "--stage", stage, *options, *self.scored_on(self.labels.one), "Global.overwrite=true")
        return Part(key, "speed", (*words, "Global.epoch_num=2"), self.data, way, point, needs=needs)

    def train(self, way: str, point: str, seed: int, budget: float) -> Part:
        """A training, which the same command goes on with."""
        key, speed = self.key(way, point, seed, trained_for(budget)), self.key(way, point, 0, "speed")
        stage, options, needs = self.training(way, point, seed, key)
        about = (self.data, way, point, seed, budget, (*needs, speed), speed)
        return Part(key, "train", (*_OCRSLIM, stage, *options), *about)

    def training(self, way: str, point: str, seed: int, key: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Stage, options and what is needed: our `prune` from the unpruned network, or `train` from what is pruned."""
        recipe = (*self.data_to_train(), *self.options.training_options, f"Global.seed={seed}")
        if way in ALL_OURS:
            options = (*self.common(key, self.start), *recipe, *self.pruning(way, point, seed))
            return "prune", (*options, *self.options.our_options), self.chosen_by(way)
        network, made_by = self.checkpoint(way, point, seed)
        more = self.options.our_options if way == UNPRUNED else ()
        return "train", (*self.common(key, network), *recipe, *more), (made_by,)

    def score(self, way: str, point: str, seed: int, budget: float = 0.0) -> Part:
        """A final network on the test images: the only part that is given them."""
        key = self.key(way, point, seed, trained_for(budget), "score")
        network, made_by = self.checkpoint(way, point, seed, budget)
        ledger = ("--name", key, "--ledger", str(self.options.out / "ledger.jsonl"))
        words = (*_PART, "score", *ledger, *self.common(key, network), *self.scored_on(self.labels.test))
        return Part(key, "score", words, self.data, way, point, seed, budget, (made_by,))

    def common(self, key: str, network: Path) -> tuple[str, ...]:
        """What every command has."""
        return (
            *("-c", CONFIG, "--json", "-o", "Global.use_gpu=false", f"Global.pretrain_weights={network}"),
            f"Global.save_model_dir={self.folder(key)}",
            f"Eval.dataset.data_dir={SHARED}/{self.data}/images",
            *self.scored_on(self.labels.select),
            f"Eval.dataset.transforms.DetResizeForTest={RESIZE[self.data]}",
        )

    def scored_on(self, labels: Path) -> tuple[str, ...]:
        """The images of an evaluation."""
        return (f"Eval.dataset.label_file_list=[{labels}]",)

    def data_to_train(self) -> tuple[str, ...]:
        """The images of a training, which are also calibrated on."""
        return (
            f"Train.dataset.data_dir={SHARED}/{self.data}/images",
            f"Train.dataset.label_file_list=[{self.labels.train}]",
            *self.options.data_options,
        )

    def pruning(self, way: str, point: str, seed: int) -> tuple[str, ...]:
        """What decides on channels; PaddleSlim's way leaves no layer alone, and neither does it align."""
        table = self.folder(f"{self.data}, table") / "sen.pickle"
        what, fraction = point.split("=")
        by = {DEFAULT: (), REBUILT: _BY_RECONSTRUCTION}.get(way, (f"Prune.sen_file={table}",))
        chosen = (*by, f"Prune.target={{{what}: {fraction}}}", *self.options.pruning_options)
        return chosen if way == PADDLESLIM else (*chosen, f"Global.seed={seed}")


def trained_for(budget: float) -> str:
    """How a network was trained, for keys and people."""
    return f"trained {budget:g} min" if budget else "not trained"


def _ways(points: Sequence[str]) -> list[tuple[str, str]]:
    """What is trained to compare `points`: the unpruned network, ours, and PaddleSlim's where it has such a point."""
    ours = [(way, point) for way in (DEFAULT, REBUILT) for point in points]
    theirs = [(PADDLESLIM, point) for point in points if point.startswith(MACS)]
    return [(UNPRUNED, ""), *ours, *theirs] if points else []


def plan(options: argparse.Namespace, labels: Mapping[str, Labels], onnx: Path) -> list[Part]:
    """The parts that the options ask for, in order."""
    found = [part for data in options.data for part in Planner(data, options, labels[data], onnx).parts()]
    return list({part.key: part for part in found}.values())


def _digest(answer: Any) -> str:
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:16]
