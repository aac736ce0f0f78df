"""Networks that read something without having been trained: random features, and a last layer that suits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
from paddle import nn
from PIL import Image, ImageDraw, ImageFont

from ocrslim.data.synthetic import font_files

_RIDGE = 1e-6  # of the features' mean square
_SURE = 8.0  # logit of the class that is meant; that of the others is 0


def write_glyphs(folder: Path, texts: list[str], size: tuple[int, int], turned: bool = False) -> Path:
    """Write an image of `size` (height, width) for each text, which fills it, and the label file.

    Args:
        turned: write every second one upside down, and the angles as labels.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, text in enumerate(texts):
        pixels = cv2.resize(_drawn(text), size[::-1]).astype(np.float32) + rng.normal(0, 4, (*size, 1))
        upside_down = turned and index % 2
        image = np.clip(pixels[::-1, ::-1] if upside_down else pixels, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), image)
        lines.append(f"{index}.png\t{('0', '180')[index % 2] if turned else text}\n")
    label = folder / "label.txt"
    label.write_text("".join(lines), encoding="utf-8")
    return label


def _drawn(text: str) -> np.ndarray:
    font = ImageFont.truetype(str(font_files()[0]), 48)
    left, top, right, bottom = (int(side) for side in font.getbbox(text))
    image = Image.new("RGB", (right - left + 12, bottom - top + 12), (235, 235, 235))
    ImageDraw.Draw(image).text((6 - left, 6 - top), text, font=font, fill=(20, 20, 20))
    return np.asarray(image)


def fit_classes(model: nn.Layer, layer: str, images: np.ndarray, classes: list[int]) -> None:
    """Fit a linear layer so that it tells the classes of `images`, at every step where there are several.

    Args:
        layer: its name.
        images: float32 [N, 3, H, W].
        classes: of each image.
    """
    last = dict(model.named_sublayers())[layer]
    features = _inputs(model, last, images)
    steps = features.reshape(len(images), -1, features.shape[-1])
    meant = np.zeros((*steps.shape[:2], last.weight.shape[1]))
    for place, index in enumerate(classes):
        meant[place, :, index] = _SURE
    solved = _ridge(steps.reshape(-1, steps.shape[-1]), meant.reshape(-1, meant.shape[-1]))
    last.weight.set_value(solved[:-1].astype(np.float32))
    last.bias.set_value(solved[-1].astype(np.float32))


def say_text_everywhere(model: nn.Layer, layer: str, images: np.ndarray) -> None:
    """Lift the map of a detector so that all of each image is text to it, more or less.

    Args:
        layer: its last layer, behind which there is a sigmoid.
        images: float32 [N, 3, H, W].
    """
    last = dict(model.named_sublayers())[layer]
    with paddle.no_grad():
        logits = last(paddle.to_tensor(_inputs(model, last, images))).numpy()
    last.bias.set_value(last.bias + (1 - float(np.quantile(logits, 0.05))))


def settle(model: nn.Layer, *inputs: Any) -> None:
    """Give batch norms the statistics that they meet on `inputs`, or signals would die or grow on their way."""
    norms = [layer for layer in model.sublayers() if isinstance(layer, (nn.BatchNorm, nn.BatchNorm2D))]
    model.eval()
    for norm in norms:
        norm.training, norm._momentum = True, 0.0
    with paddle.no_grad():
        model(*inputs)
    model.eval()


def _inputs(model: nn.Layer, layer: nn.Layer, images: np.ndarray) -> np.ndarray:
    """Run the network and return what `layer` reads, with batch norms settled on these images."""
    seen: list[np.ndarray] = []
    settle(model, paddle.to_tensor(images))
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()))
    with paddle.no_grad():
        model(paddle.to_tensor(images))
    hook.remove()
    return seen[-1]


def _ridge(features: np.ndarray, meant: np.ndarray) -> np.ndarray:
    """Solve for a matrix whose last row is the bias."""
    rows = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    square = rows.T @ rows
    square += _RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    return np.linalg.solve(square, rows.T @ meant)
