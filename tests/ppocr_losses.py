"""PaddleOCR's own losses on its networks, and this project's on their exports, in a process of their own; as JSON.

    python tests/ppocr_losses.py FOLDER

The package `unstructured-paddleocr` must be installed: a process can use one `ppocr`.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from oracle import randomise
from paddle import nn
from small_export import FORMATS, export

from ocrslim.graph import read_inference_folder
from ocrslim.models import ImportedNetwork
from ocrslim.ppocr import find_source, use_source
from ocrslim.tasks import Task, task_of

BACKBONE = {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"}
NETWORKS: dict[str, dict[str, Any]] = {
    "rec": {
        "model_type": "rec",
        "algorithm": "CRNN",
        "Transform": None,
        "Backbone": {**BACKBONE, "small_stride": [1, 2, 2, 2]},
        "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
        "Head": {"name": "CTCHead", "fc_decay": 0.0, "out_channels": 11},
    },
    "det": {
        "model_type": "det",
        "algorithm": "DB",
        "Transform": None,
        "Backbone": {**BACKBONE, "disable_se": True},
        "Neck": {"name": "DBFPN", "out_channels": 16},
        "Head": {"name": "DBHead", "k": 50},
    },
    "cls": {
        "model_type": "cls",
        "algorithm": "CLS",
        "Transform": None,
        "Backbone": BACKBONE,
        "Neck": None,
        "Head": {"name": "ClsHead", "class_dim": 2},
    },
}
LOSSES: dict[str, dict[str, Any]] = {
    "rec": {"name": "CTCLoss"},
    "det": {"name": "DBLoss", "main_loss_type": "DiceLoss", "alpha": 5.0},
    "cls": {"name": "ClsLoss"},
}


def batch_of(kind: str) -> list[paddle.Tensor]:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 3, 32, 96) if kind == "rec" else (2, 3, 64, 64)).astype("float32")
    if kind == "rec":
        labels: list[Any] = [rng.integers(1, 11, (2, 4)), np.array([4, 2])]
    elif kind == "cls":
        labels = [np.array([0, 1])]
    else:
        shrink = (rng.random((2, 64, 64)) < 0.2).astype("float32")
        labels = [0.5 * np.ones_like(shrink), np.ones_like(shrink), shrink, np.ones_like(shrink)]
    return [paddle.to_tensor(array) for array in (image, *labels)]


def in_training(model: nn.Layer) -> nn.Layer:
    """In training mode, with the statistics that batch norms have: both forms are to compute the same."""
    model.train()
    for layer in model.sublayers():
        if isinstance(layer, (nn.BatchNorm, nn.BatchNorm2D)):
            layer.eval()
            layer._use_global_stats = True
    return model


def report(kind: str, folder: Path) -> dict[str, float]:
    """Compute the loss of one batch by PaddleOCR's network and loss, and by the network from the file and ours."""
    from ppocr.losses import build_loss
    from ppocr.modeling.architectures import build_model

    paddle.seed(0)
    model = build_model(copy.deepcopy(NETWORKS[kind]))  # which takes it apart
    randomise(model)
    exported = export(model, folder / kind, legacy=FORMATS[-1] == "legacy", height=32 if kind == "rec" else None)
    batch, settings = batch_of(kind), LOSSES[kind]
    theirs = build_loss(dict(settings))(in_training(model)(batch[0]), batch)
    task: Task = task_of(kind).configured({"Architecture": {"model_type": kind, "program": "a file"}})
    network = in_training(ImportedNetwork(read_inference_folder(exported), task))
    ours = task.loss(settings)(task.predictions(task.forward(network, batch)), batch)
    names = ("loss_shrink_maps", "loss_shrink_dice") if kind == "det" else ("loss", "loss")
    return {"theirs": float(theirs[names[0]]), "ours": float(ours[names[1]])}


if __name__ == "__main__":
    use_source(find_source(None))
    print(json.dumps({kind: report(kind, Path(sys.argv[1])) for kind in NETWORKS}))
