"""A small labelled data set in a folder of its own, for the tests of data, and the transforms to read it with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ocrslim.config.config import load_config
from ocrslim.errors import DataError

NORMALISE = {
    "NormalizeImage": {
        "scale": "1./255.",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "order": "hwc",
    }
}
TRAIN = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {
        "IaaAugment": {
            "augmenter_args": [
                {"type": "Fliplr", "args": {"p": 0.5}},
                {"type": "Affine", "args": {"rotate": [-10, 10]}},
                {"type": "Resize", "args": {"size": [0.5, 3]}},
            ]
        }
    },
    {"EastRandomCropData": {"size": [96, 64], "max_tries": 50, "keep_ratio": True}},
    {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
    NORMALISE,
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]}},
]
EVAL = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {"DetResizeForTest": {"image_shape": [64, 96]}},
    NORMALISE,
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
]


def rectangle(x, y, width, height):
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def text(points, transcription="text"):
    return {"transcription": transcription, "points": points}


class Data:
    """A folder of small images, its label file, and a configuration over both."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        self.labels = folder / "label.txt"
        self.trees = {"Train": TRAIN, "Eval": EVAL}

    def add(self, name, boxes):
        pixels = np.random.default_rng(len(name)).integers(0, 255, (90, 120, 3), dtype=np.uint8)
        assert cv2.imwrite(str(self.images / name), pixels)
        self.line(f"{name}\t{json.dumps(boxes)}")

    def line(self, line):
        with self.labels.open("ab") as stream:
            stream.write(line.encode("utf-8") + b"\n")

    def config(self, *overrides):
        tree = {"Global": {"seed": 5, "save_model_dir": str(self.folder / "out")}}
        for mode, transforms in self.trees.items():
            tree[mode] = {
                "dataset": {
                    "name": "SimpleDataSet",
                    "data_dir": str(self.images),
                    "label_file_list": [str(self.labels)],
                    "transforms": transforms,
                },
                "loader": {
                    "shuffle": mode == "Train",
                    "drop_last": False,
                    "batch_size_per_card": 2 if mode == "Train" else 1,
                    "num_workers": 0,
                },
            }
        path = self.folder / "config.yml"
        path.write_text(yaml.safe_dump(tree))
        return load_config(path, overrides)


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path / "data")


@pytest.fixture
def filled(data):
    for number in range(7):
        data.add(f"{number}.png", [text(rectangle(10 + number, 20, 60, 18)), text(rectangle(5, 60, 40, 12), "###")])
    return data


def message(call, *arguments, error=DataError) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def spoil(data, name, how):
    path = data.images / name
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"<html>not found</html>")
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
