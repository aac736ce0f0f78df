"""Losses by labels on what exported networks return: one map, probabilities of characters, probabilities of classes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from checkout import require_zoo
from file_networks import Classifier, Detector, Recogniser, exported
from paddle.nn import functional as F
from small_export import FORMATS

from ocrslim.errors import ConfigError
from ocrslim.graph import read_inference_folder
from ocrslim.models import ImportedNetwork
from ocrslim.tasks import task_of
from ocrslim.tasks.detection.loss import balanced_bce_loss, balanced_dice_loss

SHAPES = {"det": (2, 3, 32, 48), "rec": (2, 3, 32, 48), "cls": (2, 3, 32, 48)}
NETWORKS = {"det": Detector, "rec": Recogniser, "cls": Classifier}
LOSSES = {"det": {"name": "DBLoss"}, "rec": {"name": "CTCLoss"}, "cls": {"name": "ClsLoss"}}


def task_for(kind: str):
    return task_of(kind).configured({"Architecture": {"model_type": kind, "program": "a file"}})


def network(kind: str, folder: Path) -> ImportedNetwork:
    return ImportedNetwork(read_inference_folder(exported(NETWORKS[kind], folder, FORMATS[-1])), task_for(kind))


def batch_of(kind: str) -> list[paddle.Tensor]:
    rng = np.random.default_rng(0)
    image = rng.normal(size=SHAPES[kind]).astype("float32")
    if kind == "rec":
        labels = [np.array([[1, 2, 2], [3, 0, 0]]), np.array([3, 1])]
    elif kind == "cls":
        labels = [np.array([0, 1])]
    else:
        shrink = np.zeros((2, *SHAPES[kind][2:]), np.float32)
        shrink[:, 8:24, 12:36] = 1
        image += 2 * shrink[:, None]
        ones = np.ones_like(shrink)
        labels = [0.5 * ones, ones, shrink, ones]
    return [paddle.to_tensor(array) for array in (image, *labels)]


def losses(kind: str, model: ImportedNetwork, batch: list[paddle.Tensor], section=None) -> dict[str, paddle.Tensor]:
    task = task_for(kind)
    return task.loss(section or LOSSES[kind])(task.predictions(task.forward(model, batch)), batch)


@pytest.mark.parametrize("kind", NETWORKS)
def test_one_batch_is_learnt(kind, tmp_path):
    model, batch = network(kind, tmp_path), batch_of(kind)
    model.train()
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    found = []
    for _ in range(25):
        loss = losses(kind, model, batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        found.append(float(loss))
    assert found[-1] < 0.8 * found[0]


def test_training_gives_logits_of_which_inference_gives_the_softmax(tmp_path):
    for kind in ("rec", "cls"):
        model, (image, *_) = network(kind, tmp_path), batch_of(kind)
        model.eval()
        probabilities = model(image)
        model.train()
        logits = model(image)
        assert float((F.softmax(logits, axis=-1) - probabilities).abs().max()) < 1e-6
        assert float((logits - probabilities).abs().max()) > 0.1


def test_a_detector_learns_by_its_shrink_map_alone_and_says_so(tmp_path, caplog):
    model, batch = network("det", tmp_path), batch_of("det")
    model.train()
    section = {"name": "DBLoss", "main_loss_type": "BCELoss", "alpha": 3, "beta": 1000, "ohem_ratio": 2}
    maps = model(batch[0])["maps"][:, 0]
    model.train()
    with caplog.at_level(logging.INFO):
        found = losses("det", model, batch, section)
    assert caplog.text.count("no threshold branch") == 1
    dice, bce = (float(found[name]) for name in ("loss_shrink_dice", "loss_shrink_bce"))
    assert dice == pytest.approx(float(balanced_dice_loss(maps, *batch[3:5], 2)), rel=1e-4)
    assert bce == pytest.approx(3 * float(balanced_bce_loss(maps, *batch[3:5], 2)), rel=1e-4)
    assert float(found["loss"]) == pytest.approx(dice + bce, rel=1e-5)


def test_of_two_heads_the_one_for_ctc_is_trained(tmp_path, caplog):
    model, (image, labels, lengths) = network("rec", tmp_path), batch_of("rec")
    model.eval()
    alone = float(losses("rec", model, [image, labels, lengths])["loss"])
    section = {"name": "MultiLoss", "loss_config_list": [{"CTCLoss": None}, {"NRTRLoss": None}], "weight_1": 0.5}
    of_second_head = [paddle.ones([2, 25], "int64"), paddle.ones([2])]
    batch = [image, labels, of_second_head[0], lengths, of_second_head[1]]
    with caplog.at_level(logging.INFO):
        assert float(losses("rec", model, batch, section)["loss"]) == pytest.approx(0.5 * alone, rel=1e-5)
    assert "no second head" in caplog.text


@pytest.mark.parametrize(
    "section", [{"name": "SARLoss"}, {"name": "MultiLoss", "loss_config_list": [{"SARLoss": None}]}]
)
def test_a_loss_of_outputs_that_a_file_lacks_is_refused(section):
    with pytest.raises(ConfigError, match=r"expected CTCLoss, or MultiLoss"):
        task_for("rec").loss(section)


def test_a_network_from_a_file_gets_no_labels():
    """PaddleOCR's own networks of this algorithm take them."""
    given = {}

    def model(images, **others):
        given.update(others)
        return images

    for architecture, expected in (({"program": "a file"}, set()), ({}, {"data"})):
        given.clear()
        task = task_of("rec").configured({"Architecture": {"algorithm": "SVTR_LCNet", **architecture}})
        task.forward(model, [paddle.zeros([1]), paddle.ones([1])])
        assert given.keys() == expected


@pytest.mark.slow
def test_paddleocrs_own_losses_say_the_same(tmp_path):
    require_zoo()
    script = Path(__file__).resolve().parents[1] / "ppocr_losses.py"
    run = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert set(found) == {"rec", "det", "cls"}
    for kind, loss in found.items():
        assert loss["ours"] == pytest.approx(loss["theirs"], rel=1e-4), kind
        assert loss["theirs"] > 0.01, kind
