"""A recogniser pruned by 30 % of its MACs: this project beside PaddleSlim's way and the unpruned network.

    python benchmarks/recogniser.py                              # three trainings of 20 minutes of one core, scores
    python benchmarks/recogniser.py --only '(?<!not )trained'    # the trainings, and scores after them
    python benchmarks/recogniser.py --try --out output/try_rec   # everything once on 2 receipts; means nothing

PP-OCRv3's mobile recogniser, with the weights that `rapidocr-onnxruntime` carries, on lines of receipts (SROIE), which
are cut out of detection labels. It needs PaddleOCR's networks: pip install 'ocrslim[zoo]'. Interrupt it as you like:
the same command goes on, a training where it was; --fresh forgets all but who has read the test images. Each part is a
process on one thread, a command of ocrslim or of `recogniser_part.py`; answers go to parts.jsonl in the working folder
(output/recogniser_benchmark), logs to folders there, tables and figures to benchmarks/recogniser.md and .json, with
another --out into that folder.

Networks are calibrated and trained on train.txt and chosen by val.txt (early stopping by its first ten receipts); each
is scored on test.txt once (`accuracy_ledger.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import recogniser_tables as tables
from accuracy_bench import LEDGER, Bench, add_options, measure, open_bench, results_in
from accuracy_ledger import readings
from accuracy_plan import SHARED, Part, folder_of
from machine import describe, revision
from paths import REPO, package_weights, portable
from recogniser_part import CUT, PRUNED
from recogniser_tables import AS_CUT, OURS, PADDLESLIM, REFITTED, TRAINED, UNPRUNED, UNTRAINED

from ocrslim.utils.files import write_text

WEIGHTS = ("rapidocr-onnxruntime", "ch_PP-OCRv3_rec_infer.onnx")
CONFIG = "configs/rec/PP-OCRv3/PP-OCRv3_mobile_rec.yml"
OUTPUT, RESULTS = REPO / "output/recogniser_benchmark", REPO / "benchmarks/recogniser"
FORMAT = 1  # of recogniser.json
EVALUATIONS = 3  # of a training
_STOPPED_BY = 10  # receipts of val.txt
_OCRSLIM, _PART = ("-m", "ocrslim"), ("benchmarks/recogniser_part.py",)
_SECONDS = {"weights": 60, "prune": 240, "train": 1800, "score": 600, "width": 150}
# A line as wide as it is, 320 at least, as PaddleOCR's predictor gives it: on val.txt the unpruned network reads 0.858
# of the lines by digits and letters, at 320 alone 0.819; 1 - NED is 0.743 and 0.726. The exact accuracy, which before a
# training hangs on capitals and spaces, is 0.420 and 0.436.
_FREE = ("Eval.dataset.transforms.RecResizeImg.eval_mode=true",)
_WIDTHS = (320, 640)  # held against it
_PRUNING = (
    *("Prune.criterion=reconstruction", "Prune.target={macs: 0.3}", "Prune.align=8", "Prune.skip_first=0"),
    "Prune.recover_images=128",
)


@dataclass(frozen=True)
class RecogniserPart(Part):
    """A process on one thread."""

    def estimate(self) -> float:
        """Seconds that it may take."""
        return _SECONDS[self.kind]

    @property
    def variables(self) -> dict[str, str]:
        """What its environment has beside the caller's."""
        return {"MKL_DEBUG_CPU_TYPE": "5", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Labels:
    """Label files: to train on, to choose by, to stop early by, to score on."""

    train: Path
    select: Path
    stop: Path
    test: Path


def main() -> int:
    """Measure what is not measured yet and write the tables; 1 where a part failed."""
    options = parse()
    bench = open_bench(options, results_in(options, OUTPUT, RESULTS).with_suffix(".json"))
    parts = list(plan(options, labels_of(options)))
    return measure(bench, parts, options.only, lambda: report(options, parts, bench))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1, help="of each training, 159 steps each (1)")
    parser.add_argument("--batch", type=int, default=32, help="lines of a step (32)")
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate, which falls by a cosine (3e-4)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--try", dest="receipts", action="store_const", const=2, help="2 receipts")
    add_options(parser, OUTPUT)
    options = parser.parse_args(arguments)
    options.out = options.out.resolve()
    if options.receipts is not None and options.out == OUTPUT:
        parser.error("--try: its results would be taken for measured ones; expected another --out")
    if min(options.epochs, options.batch, options.seed) < 1:
        parser.error("--epochs, --batch and --seed from 1")
    return options


def labels_of(options: argparse.Namespace) -> Labels:
    """Label files, parts of them written to the working folder; with --try test is the end of val.txt."""
    train, select, test = ((REPO / SHARED / f"sroie/{name}.txt").resolve() for name in ("train", "val", "test"))
    held = select.read_text(encoding="utf-8").splitlines(keepends=True)
    few = options.receipts
    if few is None:
        return Labels(train, select, _written(options.out, "stop", held[:_STOPPED_BY]), test)
    first = train.read_text(encoding="utf-8").splitlines(keepends=True)[:few]
    named = {"train": first, "select": held[:few], "stop": held[:1], "test": held[-few:]}
    return Labels(*(_written(options.out, name, lines) for name, lines in named.items()))


def _written(out: Path, name: str, lines: Sequence[str]) -> Path:
    path = out / f"labels/{name}.txt"
    path.parent.mkdir(exist_ok=True)
    write_text(path, "".join(lines))
    return path


def plan(options: argparse.Namespace, labels: Labels) -> Iterator[Part]:
    """All parts, in order: before training, ours, the others, and what the width was chosen by."""
    maker = Planner(options, labels)
    yield maker.weights()
    yield maker.score(UNPRUNED, UNTRAINED, "weights", maker.start)
    for way, stage in ((OURS, "cut"), (PADDLESLIM, "slim")):
        pruned = maker.pruned(way, stage)
        yield pruned
        states = {AS_CUT: CUT, REFITTED: PRUNED} if way == OURS else {AS_CUT: PRUNED}
        for state, name in states.items():
            yield maker.score(way, state, pruned.key, maker.folder(pruned.key) / name)
    for way in (OURS, UNPRUNED, PADDLESLIM):
        trained = maker.trained(way)
        yield trained
        yield maker.score(way, TRAINED, trained.key, maker.folder(trained.key) / "best_accuracy")
    for width in _WIDTHS:
        yield maker.width(width)


@dataclass(frozen=True)
class Planner:
    """Makes the parts."""

    options: argparse.Namespace
    labels: Labels

    @property
    def start(self) -> Path:
        """The unpruned network, as it comes."""
        return self.folder("weights") / "pp_ocrv3_rec"

    def folder(self, key: str) -> Path:
        """Where a part writes to."""
        return folder_of(self.options.out, key)

    def weights(self) -> Part:
        """The weights as a checkpoint, once, so that all networks begin with one branch for training."""
        source = package_weights(*WEIGHTS)
        words = (*_OCRSLIM, "import-weights", "-c", CONFIG, str(source), f"{self.start}.pdparams")
        return RecogniserPart("weights", "weights", (*words, "--json", "-o", "Global.use_gpu=false"))

    def pruned(self, way: str, stage: str) -> Part:
        """A network before training."""
        key = f"{way}, pruned"
        words = (*_PART, stage, *self.common(key, self.start, self.labels.select), *_PRUNING, *self.to_train())
        return RecogniserPart(key, "prune", words, way=way, needs=("weights",))

    def trained(self, way: str) -> Part:
        """A training, which the same command goes on with: ours prunes too, and distils."""
        key, before = f"{way}, {TRAINED}", f"{PADDLESLIM}, pruned"
        start = self.folder(before) / PRUNED if way == PADDLESLIM else self.start
        stage, more = ("prune", _PRUNING) if way == OURS else ("train", ())
        words = (*_OCRSLIM, stage, *self.common(key, start, self.labels.stop, "--json"), *more, *self.to_train())
        steps = (
            *(f"Global.epoch_num={self.options.epochs}", f"Global.eval_batch_step=[0,{self.every()}]"),
            *(f"Optimizer.lr.learning_rate={self.options.rate:g}", "Optimizer.lr.warmup_epoch=0"),
        )
        needs = (before,) if way == PADDLESLIM else ("weights",)
        return RecogniserPart(key, "train", (*words, *steps), way=way, seed=self.options.seed, needs=needs)

    def every(self) -> int:
        """Steps between evaluations; one line in six is too long to be learnt."""
        boxes = self.labels.train.read_text(encoding="utf-8").count('"points"')
        return max(1, int(0.8 * boxes) // self.options.batch * self.options.epochs // EVALUATIONS)

    def score(self, way: str, state: str, made_by: str, network: Path) -> Part:
        """A network on the validation and the test images: the only part that is given these."""
        key = f"{way}, {state}, score"
        asked = ("--name", key, "--ledger", str(self.options.out / LEDGER), "--test", str(self.labels.test))
        words = (*_PART, "score", *asked, *self.common(key, network, self.labels.select))
        return RecogniserPart(key, "score", words, way=way, point=state, needs=(made_by,))

    def width(self, width: int) -> Part:
        """The unpruned network on the validation images at one width, lines that are longer squeezed."""
        key = f"width {width}"
        size = f"Eval.dataset.transforms.RecResizeImg.image_shape=[3,48,{width}]"
        words = (*_OCRSLIM, "eval", *self.common(key, self.start, self.labels.select, "--json")[: -len(_FREE)], size)
        return RecogniserPart(key, "width", words, needs=("weights",))

    def common(self, key: str, network: Path, evaluated: Path, *flags: str) -> tuple[str, ...]:
        """What every command has."""
        return (
            *("-c", CONFIG, *flags, "-o", "Global.use_gpu=false", f"Global.pretrain_weights={network}"),
            *(f"Global.save_model_dir={self.folder(key)}", f"Global.seed={self.options.seed}"),
            *(f"Eval.dataset.data_dir={SHARED}/sroie/images", f"Eval.dataset.label_file_list=[{evaluated}]"),
            *_FREE,
        )

    def to_train(self) -> tuple[str, ...]:
        """The lines of a training, which are also calibrated on."""
        return (
            f"Train.dataset.data_dir={SHARED}/sroie/images",
            f"Train.dataset.label_file_list=[{self.labels.train}]",
            f"Train.loader.batch_size_per_card={self.options.batch}",
            "Train.loader.num_workers=0",
        )


def report(options: argparse.Namespace, parts: Sequence[Part], bench: Bench) -> None:
    """Write tables and what they were made from: also of parts that are not asked for now."""
    results = {part.key: bench.results[part.key] for part in parts if bench.done(part)}
    if not results:
        return
    target = results_in(options, OUTPUT, RESULTS)
    missing = [part.key for part in parts if part.key not in results]
    settings = {name: getattr(options, name) for name in ("epochs", "batch", "rate", "seed", "receipts")}
    state = {"failed": bench.failed, "missing": missing, "readings": readings(options.out / LEDGER)}
    text = tables.document(results, describe(), revision(), settings, state)
    write_text(target.with_suffix(".md"), f"{text}\n")
    known = {"format": FORMAT, "machine": describe(), "revision": revision(), "settings": settings, **state}
    found = {**known, "differences": tables.as_json(results), "parts": results}
    write_text(target.with_suffix(".json"), json.dumps(portable(found, options.out)) + "\n")
    print(f"\n{text}\n\nwritten: {target}.md and .json", flush=True)


if __name__ == "__main__":
    sys.exit(main())
