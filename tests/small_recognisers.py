"""Small exported recognisers of a few characters, with their dictionaries, in every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import paddle
import yaml
from onnx_models import node, numbers, onnx_model, saved, weights
from oracle import randomise
from paddle import nn
from paddle.nn import functional as F
from small_export import FORMATS, export

CHARACTERS = ("a", "b", "é", "\u3000", "中", "1", "2", "3", "\U0001f1e9\U0001f1ea", "b")  # the last one twice
KINDS = (*FORMATS, "onnx")
SHAPE = (1, 3, 32, 96)
TRANSFORMS = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"CTCLabelEncode": None},
    {"RecResizeImg": {"image_shape": list(SHAPE[1:])}},
    {"KeepKeys": {"keep_keys": ["image", "label", "length"]}},
]


class Line(nn.Layer):
    """A convolution, steps along the width, a linear layer over the classes."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.last = nn.Conv2D(3, 8, 3, stride=[2, 4], padding=1), nn.Linear(8, classes)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), [1, 24]).squeeze(2).transpose([0, 2, 1])
        return F.softmax(self.last(x), 2)


def line_onnx(classes: int, turned: bool = False) -> onnx.ModelProto:
    """Make the same as an ONNX model, with a `Gemm` of the turned weight in place of a product."""
    tensors = {
        "conv": weights(8, 3, 32, 3),
        "last": weights(8, classes) * 2,
        "bias": weights(classes),
        "two": numbers(2),
    }
    nodes = [
        node("Conv", "x conv", "1", strides=[1, 4], pads=[0, 1, 0, 1]),
        node("Relu", "1", "2"),
        node("Squeeze", "2 two", "3"),
        node("Transpose", "3", "4", perm=[0, 2, 1]),
        node("MatMul", "4 last", "5"),
        node("Add", "5 bias", "6"),
        node("Softmax", "6", "y", axis=2),
    ]
    if turned:
        tensors |= {"last": tensors["last"].T.copy(), "one": numbers(0)}
        nodes[3:] = [
            node("Squeeze", "3 one", "4"),
            node("Transpose", "4", "5", perm=[1, 0]),
            node("Gemm", "5 last bias", "6", transB=1),
            node("Softmax", "6", "y", axis=1),
        ]
    return onnx_model(*nodes, tensors=tensors, image=(1 if turned else "n", 3, 32, "w"))


def model_file(folder: Path, kind: str, classes: int) -> Path:
    """Write a recogniser into `folder`; return what names it: the folder, or the ONNX file."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "onnx":
        return saved(folder / "rec.onnx", line_onnx(classes))
    paddle.seed(5)
    model = Line(classes)
    randomise(model)
    model.last.weight.set_value(3 * np.random.default_rng(2).standard_normal((8, classes)).astype(np.float32))
    return export(model, folder, legacy=kind == "legacy")


def write_settings(folder: Path, characters: Sequence[str] = CHARACTERS) -> Path:
    """Write the `inference.yml` of a recogniser."""
    settings = {
        "Global": {"model_name": "PP-OCRv9_rec"},
        "PreProcess": {"transform_ops": TRANSFORMS},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": list(characters)},
        "Hpi": {"kept": ["as", "it", "is"]},
    }
    path = folder / "inference.yml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def recogniser(folder: Path, kind: str, characters: Sequence[str] = CHARACTERS, space: bool = True) -> Path:
    """Write a recogniser of these characters with its settings; return what names it."""
    model = model_file(folder, kind, len(characters) + 1 + space)
    write_settings(folder, characters)
    return model
