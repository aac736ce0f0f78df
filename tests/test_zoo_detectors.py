"""Detectors of PaddleOCR's own classes through the commands, on a few rendered images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from checkout import require_zoo

from ocrslim import commands
from ocrslim.config import load_config

REPO = Path(__file__).resolve().parents[1]
RESNET = {
    "Backbone": {"name": "ResNet_vd", "layers": 18, "disable_se": True},
    "Neck": {"name": "DBFPN", "out_channels": 32},
    "Head": {"name": "DBHead", "k": 50},
}
LCNET = {
    "Backbone": {"name": "PPLCNetV3", "scale": 0.35, "det": True},
    "Neck": {"name": "RSEFPN", "out_channels": 32, "shortcut": True},
    "Head": {"name": "DBHead", "k": 50},
}
EAST = {
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": {"name": "EASTFPN", "model_name": "small"},
    "Head": {"name": "EASTHead", "model_name": "small"},
}
EAST_TRAIN = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {"EASTProcessTrain": {"image_shape": [96, 96], "background_ratio": 0.125, "min_crop_side_ratio": 0.1}},
    {"KeepKeys": {"keep_keys": ["image", "score_map", "geo_map", "training_mask"]}},
]


def write_config(folder: Path, rendered: Path, parts: dict, **sections) -> Path:
    """The main configuration with another network, over the rendered images."""
    tree = {**yaml.safe_load((REPO / "configs/det/det_mv3_db.yml").read_text()), **sections}
    algorithm = "EAST" if parts is EAST else "DB"
    tree["Architecture"] = {"model_type": "det", "algorithm": algorithm, "Transform": None, **parts}
    tree["Global"].update(use_gpu=False, epoch_num=1, save_model_dir=str(folder / "run"), pretrained_model=None)
    tree["Global"].update(eval_batch_step=[0, 1000], save_inference_dir=str(folder / "inference"))
    for mode in ("Train", "Eval"):
        images = rendered / mode.lower()
        tree[mode]["dataset"].update(data_dir=str(images / "images"), label_file_list=[str(images / "label.txt")])
        tree[mode]["dataset"].pop("ratio_list", None)
        tree[mode]["loader"].update(batch_size_per_card=1 if mode == "Eval" else 3, num_workers=0)
    for entry in (*tree["Train"]["dataset"]["transforms"], *tree["Eval"]["dataset"]["transforms"]):
        if "EastRandomCropData" in entry:
            entry["EastRandomCropData"]["size"] = [96, 96]
        if "DetResizeForTest" in entry:
            entry["DetResizeForTest"] = {"image_shape": [96, 96]}
    if parts is EAST:
        tree["Train"]["dataset"]["transforms"] = EAST_TRAIN
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


CASES = [
    pytest.param(RESNET, {}, id="ResNet"),
    pytest.param(LCNET, {}, id="PP-LCNetV3", marks=pytest.mark.slow),
    pytest.param(
        EAST,
        {
            "Loss": {"name": "EASTLoss"},
            "PostProcess": {"name": "EASTPostProcess", "score_thresh": 0.8, "cover_thresh": 0.1, "nms_thresh": 0.2},
        },
        id="EAST",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("parts", "sections"), CASES)
def test_groups_training_and_evaluation_run(parts, sections, rendered, tmp_path):
    require_zoo()
    path = write_config(tmp_path, rendered, parts, **sections)
    groups = commands.run_groups(load_config(path))
    assert groups["prunable_macs_share"] > 0.99
    trained = commands.run_train(load_config(path))
    assert set(trained["best"]) >= {"hmean", "precision", "recall"}
    weights = f"Global.pretrained_model={tmp_path}/run/best_accuracy"
    assert commands.run_eval(load_config(path, [weights]))["hmean"] == trained["best"]["hmean"]
    found = json.loads((tmp_path / "run/best_accuracy.json").read_text())
    assert found
