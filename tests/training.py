"""What the tests of training share: a tiny detector, a configuration, batches and scores to order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
import yaml
from paddle import nn

from ocrslim.config.config import Config, load_config
from ocrslim.models import read_weights
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.training import trainer
from ocrslim.training.callbacks import Callback
from ocrslim.training.fitting import FitResult, fit
from ocrslim.training.job import TrainingJob
from ocrslim.utils.hashing import hash_arrays
from ocrslim.utils.interrupts import Interrupts

STEPS, EPOCHS = 4, 3
TRANSFORMS = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {
        "IaaAugment": {
            "augmenter_args": [
                {"type": "Fliplr", "args": {"p": 0.5}},
                {"type": "Affine", "args": {"rotate": [-10, 10]}},
                {"type": "Resize", "args": {"size": [0.8, 1.5]}},
            ]
        }
    },
    {"EastRandomCropData": {"size": [64, 64], "max_tries": 10, "keep_ratio": True}},
    {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
    {"NormalizeImage": {"scale": "1./255.", "mean": [0.5] * 3, "std": [0.5] * 3, "order": "hwc"}},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]}},
]


def make_config(images: Path, out: Path, *overrides: str) -> Config:
    tree = {
        "Global": {"epoch_num": EPOCHS, "eval_batch_step": [0, 3], "print_batch_step": 1, "save_model_dir": str(out)},
        "Architecture": {
            "model_type": "det",
            "algorithm": "DB",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small", "disable_se": True},
            "Neck": {"name": "DBFPN", "out_channels": 16},
            "Head": {"name": "DBHead", "k": 50},
        },
        "Loss": {"name": "DBLoss"},
        "Optimizer": {
            "name": "Adam",
            "lr": {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 1},
            "regularizer": {"name": "L2", "factor": 1e-4},
        },
        "Metric": {"name": "DetMetric", "main_indicator": "hmean"},
        "Train": {
            "dataset": {
                "name": "SimpleDataSet",
                "data_dir": str(images),
                "label_file_list": [str(images / "labels.txt")],
                "transforms": TRANSFORMS,
            },
            "loader": {"shuffle": True, "batch_size_per_card": 2, "num_workers": 0},
        },
    }
    path = out.parent / "config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return load_config(path, overrides)


class Tiny(nn.Layer):
    """Two convolutions in place of a detector."""

    training_only = ()

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2D(6)
        self.maps = nn.Conv2D(6, 3, 3, padding=1)

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        maps = nn.functional.sigmoid(self.maps(nn.functional.relu(self.norm(self.conv(x)))))
        return {"maps": maps if self.training else maps[:, :1]}


def tiny(seed: int = 0) -> Tiny:
    paddle.seed(seed)
    return Tiny()


Scores = Callable[[], dict[str, float]]


def scores_from(values: list[float]) -> Scores:
    """An evaluation that gives `values` one after the other, then the last for ever."""
    left = list(values)
    return lambda: {"precision": 0.5, "recall": 0.5, "hmean": left.pop(0) if len(left) > 1 else left[0]}


def score_of(model: nn.Layer) -> Scores:
    """A score that depends on the weights alone and goes up and down in training."""

    def score() -> dict[str, float]:
        assert not model.training
        digest = hash_arrays({k: v.numpy() for k, v in model.state_dict().items()})
        return {"precision": 0.1, "recall": 0.2, "hmean": int(digest[:4], 16) / 65536}

    return score


class Batches:
    """The loader's batches without images: they depend on epoch and place alone."""

    def __init__(
        self, config: Config, labelled: object, epoch: int, skip_batches: int = 0, part: tuple[int, int] = (0, 1)
    ):
        rank = part[0]
        self._places = [(epoch, index, rank) if rank else (epoch, index) for index in range(skip_batches, STEPS)]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[list[paddle.Tensor]]:
        for place in self._places:
            rng = np.random.default_rng(place)
            text = (rng.random((2, 8, 8)) < 0.3).astype(np.float32)
            ones = np.ones_like(text)
            image = rng.normal(size=(2, 3, 8, 8)).astype(np.float32) + text[:, None]
            yield [paddle.to_tensor(array) for array in (image, 0.5 * ones, ones, text, ones)]


def weights(folder: Path, name: str = "latest") -> dict[str, np.ndarray]:
    return read_weights(folder / f"{name}.pdparams")


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=atol, err_msg=key)


class NoImages:
    """In place of a data set: training reads `Batches`, scores are made to order."""

    def fingerprint(self) -> str:
        return "no images"


IMAGES = {"training data": "no images", "evaluation data": "no images"}  # in the origin of a run


@dataclass(frozen=True)
class Job(TrainingJob):
    """A job with scores to order."""

    evaluate: Scores | None = None

    def scoring(self) -> Scores:
        return self.evaluate or score_of(self.model)


def make_job(
    config: Config, model: nn.Layer | None = None, evaluate: Scores | None = None, labelled: object = None, **more
) -> Job:
    return Job(model or tiny(), config, labelled or NoImages(), NoImages(), evaluate=evaluate, **more)


def run(
    config: Config,
    model: nn.Layer | None = None,
    evaluate: Scores | None = None,
    callback: Callback | None = None,
    **more,
) -> FitResult:
    """`fit` with the handlers of signals that the command line installs."""
    with Interrupts():
        return fit(make_job(config, model, evaluate, **more), callback)


class Stop(BaseException):
    """A death that no handler sees, as kill -9."""


def stop_after(count: int, error: type[BaseException] = Stop) -> Scores:
    """An evaluation that works `count` times."""
    left = [count]

    def score() -> dict[str, float]:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return {"precision": 0.5, "recall": 0.5, "hmean": 0.5}

    return score


def plan_of(config: Config) -> Plan:
    return Plan(config.section("Architecture"), (Cut("neck.in2_conv.weight", 0, 16, tuple(range(8))),))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of one dark bar each, with its box as label."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    lines = []
    for index in range(8):
        x, y = (int(v) for v in rng.integers(4, 24, 2))
        image = rng.integers(150, 255, (80, 96, 3), dtype=np.uint8)
        cv2.rectangle(image, (x, y), (x + 50, y + 20), (20, 20, 20), -1)
        cv2.imwrite(str(folder / f"{index}.png"), image)
        box = [[x, y], [x + 50, y], [x + 50, y + 20], [x, y + 20]]
        lines.append(f"{index}.png\t" + json.dumps([{"transcription": "bar", "points": box}]))
    (folder / "labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train_loader", Batches)
