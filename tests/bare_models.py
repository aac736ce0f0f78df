"""Detectors without their training code, as files of every kind, and images without labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import paddle
from file_networks import Detector
from onnx_models import node, onnx_model, saved, weights
from oracle import randomise
from small_export import FORMATS, export

KINDS = (*FORMATS, "onnx")
FORMAT_OF = {"legacy": "paddle", "pir": "pir", "onnx": "onnx"}  # as `Export.formats` calls them
SMALL = "Eval.dataset.transforms.DetResizeForTest={image_shape: [64, 96]}"
PRUNE = ("Prune.target={macs: 0.2}", "Prune.align=1", "Prune.recover_images=4")


def paddle_model(folder: Path, kind: str) -> Path:
    paddle.seed(3)
    model = Detector()
    randomise(model)
    model.up.bias.set_value(np.full(1, 4, np.float32))  # text nearly everywhere
    return export(model, folder, legacy=kind == "legacy")


def onnx_file(path: Path) -> Path:
    tensors = {"a": weights(8, 3, 3, 3), "b": weights(8, 8, 3, 3, seed=1), "c": weights(1, 8, 1, 1, seed=2)}
    ops = (
        node("Conv", "x a", "1", pads=[1] * 4, kernel_shape=[3, 3]),
        node("Relu", "1", "2"),
        node("Conv", "2 b", "3", pads=[1] * 4, kernel_shape=[3, 3]),
        node("Relu", "3", "4"),
        node("Conv", "4 c", "5", kernel_shape=[1, 1]),
        node("Sigmoid", "5", "y"),
    )
    return saved(path, onnx_model(*ops, tensors=tensors))


def source(folder: Path, kind: str) -> Path:
    folder.mkdir()
    return onnx_file(folder / "det.onnx") if kind == "onnx" else paddle_model(folder / "det", kind)


def write_images(folder: Path, count: int = 12) -> Path:
    """Write images of noise, in which the detectors find text."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02}.png"), rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    return folder
