"""Classification as a task: labels, classes, PaddleOCR's metric and loss."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from lines import classifier, numbers, own_networks, write_tree, write_turned

from ocrslim.config import load_config
from ocrslim.data import EvalSet, scan, train_loader
from ocrslim.errors import ConfigError, DataError, WeightsError
from ocrslim.tasks import task_of
from ocrslim.tasks.classification.task import Verdict

__all__ = ["own_networks"]


@pytest.fixture
def config(tmp_path):
    label = write_turned(tmp_path / "lines", numbers(6, 1))
    return lambda *words: load_config(write_tree(tmp_path / "cls.yml", classifier(label, label)), list(words))


def test_labels_become_classes_in_the_order_of_the_list(config):
    found = config()
    labelled = scan(found, "Train")
    assert [sample.label for sample in labelled.samples] == ["0", "180"] * 3
    assert "3 of class 0, 3 of class 180" in labelled.summary()
    images, classes = next(iter(train_loader(config("Train.loader.shuffle=false"), labelled, 0)))
    assert images.shape == [6, 3, 32, 96] and classes.numpy().tolist() == [0, 1] * 3
    assert [item.target for item in EvalSet(scan(found, "Eval"), found)] == ["0", "180"] * 3


def test_a_class_that_there_is_not_is_named(config, tmp_path):
    (tmp_path / "lines/label.txt").write_text("0.png\t0\n1.png\t90\n")
    with pytest.raises(DataError, match="line 2: '90' is no class, expected one of 0, 180"):
        scan(config(), "Train")


def test_a_head_with_another_number_of_classes_is_named(config):
    with pytest.raises(ConfigError, match=r"class_dim: found 4, but there are 2 classes \(0, 180\)"):
        config("Architecture.Head.class_dim=4")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param({"Global": {"label_list": ["a", "b", "c"]}}, ("a", "b", "c"), id="global"),
        pytest.param({"PostProcess": {"label_list": ["0", "90"]}}, ("0", "90"), id="post-processing"),
        pytest.param({}, ("0", "180"), id="none"),
    ],
)
def test_the_names_of_the_classes(tree, expected):
    assert task_of("cls").configured(tree)._classes == expected


def test_the_likeliest_class_is_the_verdict(config):
    found = config()
    decide = found.task.post_process(found.section("PostProcess"), found.section("Global"))
    verdict = decide(np.array([[0.2, 0.8]], np.float32), np.zeros(2))
    assert verdict.name == "180" and verdict.score == pytest.approx(0.8)
    assert found.task.to_json(verdict) == {"class": "180", "score": 0.8}
    with pytest.raises(WeightsError, match="tells 4 classes apart, and there are 2 names"):
        decide(np.zeros((1, 4), np.float32), np.zeros(2))


def test_accuracy_is_the_share_of_right_verdicts():
    task = task_of("cls")
    counts = [task.count(Verdict("0", 0.9), name) for name in ("0", "180", "0", "0")]
    assert task.scores(counts) == {"acc": 0.75} and task.main_indicator == "acc"


def test_the_loss_is_the_cross_entropy():
    task = task_of("cls")
    logits, classes = paddle.randn([4, 2]), paddle.to_tensor([0, 1, 1, 0])
    found = task.loss({"name": "ClsLoss"})({"output": logits}, [None, classes])["loss"]
    expected = -F.log_softmax(logits).numpy()[np.arange(4), classes.numpy()].mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_distillation_compares_probabilities_and_what_the_last_layer_reads():
    from lines import LineNet, SideHead

    from ocrslim.models import OcrModel

    task = task_of("cls")
    parts = task.distilled({}, OcrModel(task, LineNet(), SideHead(32, 2)))
    assert parts.reader == ("head.fc.weight", 0)
    logits = paddle.randn([3, 2])
    same = parts.loss({"output": logits}, {"output": F.softmax(logits)})
    assert float(same) == pytest.approx(0, abs=1e-6)
    assert float(parts.loss({"output": logits}, {"output": F.softmax(-logits)})) > 0.01
