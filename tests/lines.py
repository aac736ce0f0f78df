"""Small recognisers and classifiers: rendered lines of digits, and networks of PaddleOCR's form that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import yaml
from paddle import nn
from PIL import Image, ImageDraw, ImageFont

from ocrslim.data.synthetic import font_files
from ocrslim.tasks import REGISTERED_PARTS

DIGITS = "0123456789"
HEIGHT, WIDTH = 32, 96


class LineNet(nn.Layer):
    """Convolutions that make a line of features of an image: height 1, a quarter of the width."""

    def __init__(self, in_channels: int = 3, channels: int = 16):
        super().__init__()
        self.out_channels = 2 * channels
        sizes = [in_channels, channels, channels, self.out_channels, self.out_channels]
        strides = [(2, 2), (2, 2), (2, 1), (2, 1)]
        self.convs = nn.LayerList(
            [nn.Conv2D(a, b, 3, stride=stride, padding=1) for a, b, stride in zip(sizes, sizes[1:], strides)]
        )
        self.norms = nn.LayerList([nn.BatchNorm2D(size) for size in sizes[1:]])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return F.max_pool2d(x, (2, 1))


class LineNeck(nn.Layer):
    """A convolution along the line, then steps: [N, C, 1, T] to [N, T, C]."""

    def __init__(self, in_channels: int, hidden: int = 32):
        super().__init__()
        self.out_channels = hidden
        self.conv = nn.Conv2D(in_channels, hidden, (1, 5), padding=(0, 2))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.conv(x)).squeeze(2).transpose([0, 2, 1])


class LineHead(nn.Layer):
    """PaddleOCR's `CTCHead`: logits in training, probabilities otherwise."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.fc = nn.Linear(in_channels, out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        logits = self.fc(x)
        return logits if self.training else F.softmax(logits, axis=2)


class SideHead(nn.Layer):
    """PaddleOCR's `ClsHead`."""

    def __init__(self, in_channels: int, class_dim: int):
        super().__init__()
        self.fc = nn.Linear(in_channels, class_dim)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        logits = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits if self.training else F.softmax(logits, axis=1)


@pytest.fixture(autouse=True)
def own_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the networks, for one test."""
    register_networks(monkeypatch)


def register_networks(patch: pytest.MonkeyPatch) -> None:
    """Make the networks known to the factory and to configurations."""
    patch.setitem(REGISTERED_PARTS["Backbone"], "LineNet", LineNet)
    patch.setitem(REGISTERED_PARTS["Neck"], "LineNeck", LineNeck)
    patch.setitem(REGISTERED_PARTS["Head"], "LineHead", LineHead)
    patch.setitem(REGISTERED_PARTS["Head"], "SideHead", SideHead)


def draw_line(text: str, rng: np.random.Generator, size: int = 24) -> np.ndarray:
    """Return dark text on light ground, uint8 [H, W, 3], with a little noise."""
    font = ImageFont.truetype(str(font_files()[0]), size)
    width = int(font.getlength(text)) + 10
    image = Image.new("RGB", (width, HEIGHT), (235, 235, 235))
    ImageDraw.Draw(image).text((5, (HEIGHT - size) // 2 - 2), text, font=font, fill=(20, 20, 20))
    pixels = np.asarray(image).astype(np.float32) + rng.normal(0, 6, (HEIGHT, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def numbers(count: int, seed: int) -> list[str]:
    """Return `count` numbers of two to four digits."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(DIGITS), int(rng.integers(2, 5)))) for _ in range(count)]


def write_lines(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """Write an image for each text, and the label file."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index, text in enumerate(texts):
        cv2.imwrite(str(folder / f"{index}.png"), draw_line(text, rng))
    label = folder / "label.txt"
    label.write_text("".join(f"{index}.png\t{text}\n" for index, text in enumerate(texts)), encoding="utf-8")
    return label


def write_page(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """Write one page with a text a row, and a detection label file with the boxes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    page = np.full((20 + 40 * len(texts), 200, 3), 235, np.uint8)
    boxes = []
    for index, text in enumerate(texts):
        line, top, left = draw_line(text, rng), 10 + 40 * index, 15
        height, width = line.shape[:2]
        page[top : top + height, left : left + width] = line
        corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
        boxes.append({"transcription": text, "points": corners})
    cv2.imwrite(str(folder / "page.png"), page)
    label = folder / "page.txt"
    label.write_text(f"page.png\t{json.dumps(boxes)}\n", encoding="utf-8")
    return label


def write_turned(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """Write lines, every second one on its head, and the label file of a classifier."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, text in enumerate(texts):
        pixels = draw_line(text, rng)
        name = "180" if index % 2 else "0"
        cv2.imwrite(str(folder / f"{index}.png"), pixels[::-1, ::-1] if index % 2 else pixels)
        lines.append(f"{index}.png\t{name}\n")
    (folder / "label.txt").write_text("".join(lines))
    return folder / "label.txt"


def dataset(label: Path, transforms: list[dict[str, Any]], name: str = "SimpleDataSet") -> dict[str, Any]:
    """Return a section `dataset`."""
    return {
        "name": name,
        "data_dir": str(label.parent),
        "label_file_list": [str(label)],
        "transforms": transforms,
    }


def tree_of(model_type: str, train: dict[str, Any], scored: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a whole configuration without the parts that differ from task to task."""
    settings = {"use_gpu": False, "epoch_num": 2, "eval_batch_step": [0, 1000], "save_model_dir": "output"}
    return {
        "Global": {**settings, **sections.pop("Global", {})},
        "Optimizer": {"name": "Adam", "lr": {"name": "Const", "learning_rate": 0.005}},
        "Train": {
            "dataset": train,
            "loader": {"shuffle": True, "drop_last": False, "batch_size_per_card": 16, "num_workers": 0},
        },
        "Eval": {"dataset": scored, "loader": {"shuffle": False, "batch_size_per_card": 1, "num_workers": 0}},
        "Prune": {"skip_first": 0, "ratios": [0.25, 0.5], "recover_images": 8},
        **sections,
        "Architecture": {"model_type": model_type, **sections["Architecture"]},
    }


def recogniser(folder: Path, train: Path, scored: Path, eval_mode: bool = False) -> dict[str, Any]:
    """Return the configuration of a recogniser of digits; its dictionary is written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    dictionary = folder / "digits.txt"
    dictionary.write_text("\n".join(DIGITS) + "\n")
    resize = {"RecResizeImg": {"image_shape": [3, HEIGHT, WIDTH]}}
    whole = {"RecResizeImg": {"image_shape": [3, HEIGHT, WIDTH], "eval_mode": True}} if eval_mode else resize
    keys = {"KeepKeys": {"keep_keys": ["image", "label", "length"]}}
    first = [{"DecodeImage": {"img_mode": "BGR"}}, {"CTCLabelEncode": None}]
    return tree_of(
        "rec",
        dataset(train, [*first, resize, keys]),
        dataset(scored, [*first, whole, keys]),
        Global={"character_dict_path": str(dictionary), "max_text_length": 8, "use_space_char": False},
        Architecture={
            "algorithm": "CRNN",
            "Backbone": {"name": "LineNet", "channels": 16},
            "Neck": {"name": "LineNeck", "hidden": 32},
            "Head": {"name": "LineHead"},
        },
        Loss={"name": "CTCLoss"},
        PostProcess={"name": "CTCLabelDecode"},
        Metric={"name": "RecMetric", "main_indicator": "acc"},
    )


def classifier(train: Path, scored: Path) -> dict[str, Any]:
    """Return the configuration of a classifier of lines that stand on their head."""
    transforms = [
        {"DecodeImage": {"img_mode": "BGR"}},
        {"ClsLabelEncode": {"label_list": ["0", "180"]}},
        {"ClsResizeImg": {"image_shape": [3, HEIGHT, WIDTH]}},
        {"KeepKeys": {"keep_keys": ["image", "label"]}},
    ]
    return tree_of(
        "cls",
        dataset(train, transforms),
        dataset(scored, transforms),
        Architecture={
            "algorithm": "CLS",
            "Backbone": {"name": "LineNet", "channels": 8},
            "Head": {"name": "SideHead", "class_dim": 2},
        },
        Loss={"name": "ClsLoss"},
        PostProcess={"name": "ClsPostProcess"},
        Metric={"name": "ClsMetric", "main_indicator": "acc"},
    )


def write_tree(path: Path, tree: dict[str, Any]) -> Path:
    """Write a configuration."""
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    return path
