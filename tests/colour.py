"""A task that is not text detection: images of one colour each, and a network that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import yaml
from paddle import nn

from ocrslim.schema import Section
from ocrslim.tasks import Counts, Distilled, Label, Losses, Operator, PostProcess, Ratio, Sample, Task, TaskSchema

COLOURS = {"red": (30, 30, 200), "green": (30, 200, 30), "blue": (200, 30, 30)}  # BGR
SIDE = 32


class ColourNet(nn.Layer):
    """Three convolutions."""

    def __init__(self, in_channels: int = 3, channels: int = 16):
        super().__init__()
        self.out_channels = 2 * channels
        sizes = [in_channels, channels, channels, self.out_channels]
        self.convs = nn.LayerList([nn.Conv2D(a, b, 3, stride=2, padding=1) for a, b in zip(sizes, sizes[1:])])
        self.norms = nn.LayerList([nn.BatchNorm2D(size) for size in sizes[1:]])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return x


class ColourHead(nn.Layer):
    """The mean over the image, and a linear layer."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.fc = nn.Linear(in_channels, len(COLOURS))

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        logits = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return {"logits": logits} if self.training else {"scores": F.softmax(logits)}


class Shrink:
    """The transform of this task."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        height, width = data["image"].shape[:2]
        small = cv2.resize(data["image"], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        image = (small.astype(np.float32) / 255 - 0.5).transpose(2, 0, 1)
        label = list(COLOURS).index(data["label"]) if "label" in data else -1
        return {**data, "image": image, "shape": np.array([height, width]), "colour": np.int64(label)}


class _Backbone(Section):
    name: Literal["ColourNet"]
    channels: int


class _Named(Section):
    name: str


class _Architecture(Section):
    model_type: Literal["colour"]
    Backbone: _Backbone
    Head: _Named


class _Metric(Section):
    name: Literal["Accuracy"]
    main_indicator: Literal["acc"]


class _Decode(Section):
    img_mode: Literal["BGR"]


class _Keep(Section):
    keep_keys: list[str]


class Colours(Task):
    """Naming the colour of an image."""

    model_type = "colour"
    title = "naming colours"
    schema = TaskSchema(
        _Architecture,
        _Named,
        _Named,
        _Metric,
        {"DecodeImage": _Decode, "Shrink": Section, "KeepKeys": _Keep},
        lambda dataset, mode: (),
    )
    nominal_shape = (1, 3, SIDE, SIDE)
    probe_shape = (1, 3, SIDE, SIDE)
    free_shape = (-1, 3, -1, -1)
    export_name = "colours"
    metrics = {"acc": Ratio(1, 0, 1)}  # noqa: RUF012
    label_format = "NAME<TAB>COLOUR"

    def parse_label(self, text: str, delimiter: str) -> Label:
        if text not in COLOURS:
            raise ValueError(f"{text!r} is no colour, expected one of {', '.join(COLOURS)}")
        return Label(text)

    def target(self, data: Mapping[str, Any], sample: Sample) -> int:
        return int(data["colour"])

    def build_operator(self, name: str, arguments: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Operator:
        return Shrink() if name == "Shrink" else super().build_operator(name, arguments, settings)

    def output(self, result: Mapping[str, Any]) -> Any:
        return result["scores"]

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], len(COLOURS))

    def post_process(self, section: Mapping[str, Any], settings: Mapping[str, Any]) -> PostProcess:
        return lambda output, shape: int(output[0].argmax())

    def count(self, prediction: int, target: int) -> Counts:
        return (1, 1, int(prediction == target))

    def label_of(self, prediction: int) -> str:
        return list(COLOURS)[prediction]

    def to_json(self, prediction: int) -> str:
        return list(COLOURS)[prediction]

    def draw(self, pixels: np.ndarray, prediction: int) -> np.ndarray:
        return cv2.copyMakeBorder(pixels, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=[*COLOURS.values()][prediction])

    def describe_predictions(self, predictions: Sequence[int]) -> str:
        return f"{len(predictions)} colours"

    def loss(self, section: Mapping[str, Any]) -> Losses:
        return lambda predictions, batch: {"loss": F.cross_entropy(predictions["logits"], batch[1])}

    def distilled(self, section: Mapping[str, Any], model: Any = None) -> Distilled:
        return Distilled(
            "backbone",
            ("head.fc.weight", 0),
            lambda student, teacher: F.kl_div(F.log_softmax(student["logits"]), teacher["scores"]),
        )


def write_images(folder: Path, count: int, seed: int) -> None:
    """Write `count` noisy images and their labels."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for index in range(count):
        name, colour = list(COLOURS.items())[index % len(COLOURS)]
        pixels = np.clip(rng.normal(colour, 90, (40, 48, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), pixels)
        lines.append(f"{index}.png\t{name}\n")
    (folder / "label.txt").write_text("".join(lines))


def write_config(path: Path, images: Path) -> Path:
    """Write a configuration for the images in `images`/train and `images`/eval."""
    transforms = [{"DecodeImage": {"img_mode": "BGR"}}, {"Shrink": None}]
    data = {
        mode: {
            "dataset": {
                "name": "SimpleDataSet",
                "data_dir": str(images / folder),
                "label_file_list": [str(images / folder / "label.txt")],
                "transforms": [*transforms, {"KeepKeys": {"keep_keys": keys}}],
            },
            "loader": {"shuffle": mode == "Train", "drop_last": False, "batch_size_per_card": size, "num_workers": 0},
        }
        for mode, folder, size, keys in (
            ("Train", "train", 6, ["image", "colour"]),
            ("Eval", "eval", 1, ["image", "shape", "colour"]),
        )
    }
    content = {
        "Global": {"use_gpu": False, "epoch_num": 4, "eval_batch_step": [0, 1000], "save_model_dir": "output"},
        "Architecture": {
            "model_type": "colour",
            "Backbone": {"name": "ColourNet", "channels": 16},
            "Head": {"name": "ColourHead"},
        },
        "Loss": {"name": "CrossEntropy"},
        "Optimizer": {"name": "Adam", "lr": {"name": "Const", "learning_rate": 0.01}},
        "PostProcess": {"name": "Largest"},
        "Metric": {"name": "Accuracy", "main_indicator": "acc"},
        **data,
        "Prune": {"skip_first": 0, "ratios": [0.25, 0.5], "recover_images": 8},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
