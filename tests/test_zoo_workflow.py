"""Networks of PaddleOCR's own classes through the three scripts, on a few rendered images; one of them in processes."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from checkout import require_zoo
from fitted import fit_classes, say_text_everywhere, write_glyphs
from in_process import run_here
from lines import DIGITS
from waiting import PATIENCE

from ocrslim.cli import run_script
from ocrslim.config import load_config
from ocrslim.data import EvalSet, scan_evaluation
from ocrslim.formats import read_sensitivities, read_weight_file
from ocrslim.models import build_model, save_checkpoint

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "sensitivity": "sensitivity_anal.py",
    "prune": "pruning_and_finetune.py",
    "export": "export_prune_model.py",
}
APART = "SVTR_LCNet MultiHead"  # the case whose scripts run in processes of their own
PAGE = (96, 192)  # height and width of what the detectors see: one text


@dataclass(frozen=True)
class Case:
    """A network.

    Attributes:
        base: configuration to start from.
        parts: its `Architecture`, beside `model_type`.
        layers: whose channels are pruned, by group.
        last: layer that is fitted.
        lines: height and width of images; None for a detector.
        sections: that differ from those of `base`.
        refit: refit its layers; those of 4,608 inputs take most of a minute, and others refit such convolutions, too.
    """

    base: str
    parts: dict[str, Any]
    layers: tuple[str, str]
    last: str
    lines: tuple[int, int] | None = None
    sections: dict[str, Any] = field(default_factory=dict)
    refit: bool = True


def detector(backbone: dict[str, Any], neck: dict[str, Any], layers: tuple[str, str], refit: bool = True) -> Case:
    parts = {"algorithm": "DB", "Backbone": backbone, "Neck": neck, "Head": {"name": "DBHead", "k": 50}}
    return Case("configs/det/det_mv3_db.yml", parts, layers, "head.binarize.conv3", refit=refit)


CTC = {
    "Loss": {"name": "CTCLoss"},
    "PostProcess": {"name": "CTCLabelDecode"},
    "Metric": {"name": "RecMetric", "main_indicator": "acc"},
}
CASES = {
    "CRNN": Case(
        "configs/rec/PP-OCRv3/PP-OCRv3_mobile_rec.yml",
        {
            "algorithm": "CRNN",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small", "small_stride": [1, 2, 2, 2]},
            "Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 96},
            "Head": {"name": "CTCHead", "fc_decay": 0},
        },
        ("backbone.blocks.5.expand_conv.conv.weight", "backbone.conv2.conv.weight"),
        "head.fc",
        (32, 100),
        CTC,
    ),
    "SVTR_LCNet MultiHead": Case(
        "configs/rec/PP-OCRv3/PP-OCRv3_mobile_rec.yml",
        {
            "algorithm": "SVTR_LCNet",
            "Backbone": {
                "name": "MobileNetV1Enhance",
                "scale": 0.25,
                "last_conv_stride": [1, 2],
                "last_pool_type": "avg",
                "last_pool_kernel_size": [2, 2],
            },
            "Head": {
                "name": "MultiHead",
                "head_list": [
                    {
                        "CTCHead": {
                            "Neck": {"name": "svtr", "dims": 96, "depth": 1, "hidden_dims": 24, "use_guide": True},
                            "Head": {"fc_decay": 0.00001},
                        }
                    },
                    {"SARHead": {"enc_dim": 32, "max_text_length": 25}},
                ],
            },
        },
        ("backbone.block_list.5._pointwise_conv._conv.weight", "backbone.block_list.8._pointwise_conv._conv.weight"),
        "head.ctc_head.fc",
        (48, 96),
    ),
    "classifier": Case(
        "configs/cls/cls_mv3.yml",
        {
            "algorithm": "CLS",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Head": {"name": "ClsHead", "class_dim": 2},
        },
        ("backbone.blocks.5.expand_conv.conv.weight", "backbone.conv2.conv.weight"),
        "head.fc",
        (48, 96),
    ),
    "PP-LCNetV3 detector": detector(
        {"name": "PPLCNetV3", "scale": 0.35, "det": True},
        {"name": "RSEFPN", "out_channels": 24, "shortcut": True},
        ("backbone.blocks4.0.pw_conv.conv_kxk.0.conv.weight", "head.binarize.conv1.weight"),
    ),
    "ResNet detector": detector(
        {"name": "ResNet_vd", "layers": 18, "disable_se": True},
        {"name": "DBFPN", "out_channels": 32},
        ("backbone.bb_2_0.conv0._conv.weight", "head.binarize.conv1.weight"),
        refit=False,
    ),
}


@pytest.fixture(scope="module", params=CASES)
def walk(request, tmp_path_factory):
    """The folder of one walk through the three scripts, their results, and their configuration."""
    require_zoo()
    case, folder = CASES[request.param], tmp_path_factory.mktemp("walk")
    config = write_config(case, folder)
    write_weights(case, config, folder / "start")
    words = {stage: ["Global.pretrain_weights=start"] for stage in ("sensitivity", "prune")}
    words["export"] = ["Global.pretrain_weights=out/best_accuracy", "Global.save_inference_dir=inference_model"]
    common = ["-c", str(config), "--json", "-o"]
    results = [run(stage, [*common, *more], folder, request.param == APART) for stage, more in words.items()]
    return folder, results, case


def write_config(case: Case, folder: Path) -> Path:
    tree = {**yaml.safe_load((REPO / case.base).read_text(encoding="utf-8")), **case.sections}
    tree["Architecture"] = {"model_type": tree["Architecture"]["model_type"], "Transform": None, **case.parts}
    tree["Global"].update(use_gpu=False, epoch_num=1, save_model_dir="out", eval_batch_step=[0, 1000])
    tree["Prune"] = {"ratios": [0.25, 0.5], "layers": list(case.layers), "skip_first": 0, "skip_loss": 1.0}
    tree["Prune"].update(loss_tolerance=1.0, recover=case.refit, recover_images=4, workers=1)
    tree["Optimizer"]["lr"] = {"name": "Const", "learning_rate": 0.0001}
    transforms = page_transforms if case.lines is None else line_transforms
    label = write_images(case, folder, tree)
    for mode in ("Train", "Eval"):
        places = {"data_dir": str(label.parent), "label_file_list": [str(label)]}
        tree[mode]["dataset"] = {"name": "SimpleDataSet", **places, "transforms": transforms(case, tree[mode])}
        tree[mode]["loader"].update(batch_size_per_card=1 if mode == "Eval" else 3, num_workers=0, drop_last=False)
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def write_images(case: Case, folder: Path, tree: dict[str, Any]) -> Path:
    if case.lines is None:
        tree["PostProcess"].update(unclip_ratio=0.1)
        label = write_glyphs(folder / "pages", list(DIGITS[:4]), PAGE)
        right, low = PAGE[1] - 2, PAGE[0] - 2
        box = {"transcription": "1", "points": [[1, 1], [right, 1], [right, low], [1, low]]}
        names = [line.partition("\t")[0] for line in label.read_text(encoding="utf-8").splitlines()]
        label.write_text("".join(f"{name}\t{json.dumps([box])}\n" for name in names), encoding="utf-8")
        return label
    dictionary = folder / "digits.txt"
    dictionary.write_text("\n".join(DIGITS) + "\n")
    if "label_list" not in tree["Global"]:
        tree["Global"].update(character_dict_path=str(dictionary), use_space_char=False)
    return write_glyphs(folder / "lines", list(DIGITS), case.lines, turned="label_list" in tree["Global"])


def line_transforms(case: Case, section: dict[str, Any]) -> list[dict[str, Any]]:
    """The transforms of the configuration, without augmentation, for images of the size that they have."""
    kept = [entry for entry in section["dataset"]["transforms"] if not any("Aug" in name for name in entry)]
    for entry in kept:
        for name in entry:
            if "ResizeImg" in name:
                entry[name] = {"image_shape": [3, *(case.lines or ())]}
    if case.sections is CTC:
        kept[1], kept[-1] = {"CTCLabelEncode": None}, {"KeepKeys": {"keep_keys": ["image", "label", "length"]}}
    return kept


def page_transforms(case: Case, section: dict[str, Any]) -> list[dict[str, Any]]:
    kept = section["dataset"]["transforms"]
    for entry in kept:
        if "EastRandomCropData" in entry:
            entry["EastRandomCropData"]["size"] = [96, 96]
        if "DetResizeForTest" in entry:
            entry["DetResizeForTest"] = {"image_shape": list(PAGE)}
    return kept


def write_weights(case: Case, path: Path, target: Path) -> None:
    """Write weights with which the network reads most of the images: random ones, and a last layer fitted to them."""
    config = load_config(path)
    images = EvalSet(scan_evaluation(config), config)
    batch = np.concatenate([images.image(index) for index in range(len(images))])
    paddle.seed(0)
    model = build_model(config.section("Architecture"))
    if case.lines is None:
        say_text_everywhere(model, case.last, batch)
    elif config.task.model_type == "rec":
        fit_classes(model, case.last, batch, list(range(1, 1 + len(DIGITS))))  # 0 is the blank
    else:
        fit_classes(model, case.last, batch, [index % 2 for index in range(len(batch))])
    save_checkpoint(model, target)


def run(stage: str, words: list[str], folder: Path, apart: bool) -> dict[str, Any]:
    if apart:
        command = [sys.executable, str(REPO / "deploy/slim/prune" / SCRIPTS[stage]), *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    else:
        done = run_here(functools.partial(run_script, stage), words, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "said": done.stderr}


def test_each_script_leaves_its_artifact_for_the_next(walk):
    folder, (measured, pruned, exported), case = walk
    assert set(read_sensitivities(folder / "out/sen.pickle")) == set(case.layers)
    metric = "hmean" if case.lines is None else "acc"
    assert measured["points"] == 4 and measured["baseline"][metric] > 0.5
    before, after = pruned["macs"]
    assert after < 0.98 * before
    plan = json.loads((folder / "out/best_accuracy.plan.json").read_text(encoding="utf-8"))
    assert set(plan["ratios"]) == set(case.layers)
    proof = json.loads((folder / "inference_model/export.json").read_text(encoding="utf-8"))
    assert exported["pruned"] is True and proof["max_difference"] == exported["max_difference"]
    assert max(proof["max_difference"].values()) < proof["tolerance"] <= 1e-3


def test_the_pruned_network_trains(walk):
    folder, _, _ = walk
    start, best = (read_weight_file(folder / name).arrays for name in ("start", "out/latest"))
    moved = [key for key, array in best.items() if array.shape != start[key].shape or (array != start[key]).any()]
    assert len(moved) > 0.9 * len(best)
    assert all(np.isfinite(array).all() for array in best.values())


def test_nothing_is_said_in_the_words_of_another_task(walk):
    _, results, case = walk
    foreign: Callable[[str], bool] = (
        (lambda text: "texts" in text) if case.lines is None else (lambda text: "box" in text or "hmean" in text)
    )
    for result in results:
        assert not foreign(result["said"]), result["said"]
        assert "Warning" not in result["said"], result["said"]
