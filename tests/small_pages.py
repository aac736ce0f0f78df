"""Pages of drawn numbers, a detector that finds what is dark, and a recogniser that is sure of what it reads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from lines import draw_line
from onnx_models import node, onnx_model, saved, weights
from small_recognisers import CHARACTERS, line_onnx, write_settings

ROWS = ("12", "3456", "789", "40")


def write_pages(folder: Path, count: int, rows: tuple[str, ...] = ROWS) -> Path:
    """Write pages with a number a row, at places that differ from page to page."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        page = np.full((64 * len(rows), 192, 3), 235, np.uint8)
        for row, text in enumerate(rows):
            line = draw_line(text, rng)
            left, top = int(rng.integers(8, 60)), 64 * row + 16
            page[top : top + line.shape[0], left : left + line.shape[1]] = line
        cv2.imwrite(str(folder / f"{number:02}.png"), page)
    return folder


def detector(path: Path) -> Path:
    """Write a detector of dark places, which are widened until the digits of a number are one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dark = weights(8, 3, 3, 3) * 0.05
    dark[0] = -1 / 27
    pick, wide = weights(8, 8, 1, 1) * 0.05, np.zeros((1, 8, 1, 1), np.float32)
    pick[0], pick[0, 0] = 0, 8
    wide[0, 0] = 8
    tensors = {"dark": dark, "pick": pick, "wide": wide, "bias": np.float32([-4]).reshape(1, 1, 1, 1)}
    ops = (
        node("Conv", "x dark", "1", pads=[1] * 4, kernel_shape=[3, 3]),
        node("Relu", "1", "2"),
        node("Conv", "2 pick", "3", kernel_shape=[1, 1]),
        node("Relu", "3", "4"),
        node("MaxPool", "4", "5", kernel_shape=[9, 17], pads=[4, 8, 4, 8], strides=[1, 1]),
        node("Conv", "5 wide", "6", kernel_shape=[1, 1]),
        node("Add", "6 bias", "7"),
        node("Sigmoid", "7", "y"),
    )
    return saved(path, onnx_model(*ops, tensors=tensors, image=("n", 3, "h", "w")))


def recogniser(path: Path) -> Path:
    """Write a recogniser of a few characters, which it reads anywhere, always the same and without a doubt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = line_onnx(len(CHARACTERS) + 2)
    for tensor in model.graph.initializer:
        if tensor.name == "last":
            tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * 40).tobytes()
    write_settings(path.parent)
    return saved(path, model)
