"""Distillation of networks from files: features found in their program, or outputs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from file_networks import Classifier, Detector, Recogniser, exported, graph_of, some_cuts
from paddle import nn
from paddle.nn import functional as F
from small_export import FORMATS, export

from ocrslim.graph import read_inference_folder
from ocrslim.models import ImportedNetwork
from ocrslim.pruning import Plan, apply_plan
from ocrslim.tasks import task_of
from ocrslim.training import Distillation

BOTH = {"maps": 1.0, "features": 1.0}
NETWORKS = {"det": Detector, "rec": Recogniser, "cls": Classifier}
WIDTH = {"det": 14, "rec": 16, "cls": 8}  # channels of the features


def task_for(kind: str):
    return task_of(kind).configured({"Architecture": {"model_type": kind, "program": "a file"}})


def read(kind: str, folder: Path) -> ImportedNetwork:
    model = ImportedNetwork(read_inference_folder(folder), task_for(kind))
    model.eval()
    return model


@pytest.fixture(params=NETWORKS)
def pair(request, tmp_path):
    kind = request.param
    folder = exported(NETWORKS[kind], tmp_path, FORMATS[-1])
    return kind, read(kind, folder), read(kind, folder)


def image() -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 48)).astype("float32"))


def losses(kind: str, teacher: nn.Layer, student: nn.Layer, plan: Plan | None = None) -> dict[str, float]:
    task = task_for(kind)
    student.train()
    parts = task.distilled({}, teacher)
    with Distillation(teacher, student, plan, BOTH, parts) as distillation:
        predictions = task.predictions(task.forward(student, [image()]))
        return {name: float(value) for name, value in distillation.losses(image(), predictions).items()}


def test_the_same_network_has_nothing_to_learn(pair):
    kind, teacher, student = pair
    found = losses(kind, teacher, student)
    assert set(found) == {"loss_distill_maps", "loss_distill_features"}
    if kind == "rec":  # what a network reads it may always learn to read more surely
        del found["loss_distill_maps"]
    assert max(map(abs, found.values())) < 1e-4
    reader, axis = task_for(kind).distilled({}, teacher).reader
    assert teacher.state_dict()[reader].shape[axis] == WIDTH[kind]
    for parameter in student.parameters():
        parameter.set_value(parameter * 1.3)
    assert min(losses(kind, teacher, student).values()) > 1e-3  # the comparison sees other weights


def test_of_a_pruned_network_those_features_are_compared_that_it_has(pair):
    kind, teacher, student = pair
    plan = Plan({}, some_cuts(graph_of(student), 0.5))
    reader = task_for(kind).distilled({}, teacher).reader
    assert reader in {(cut.key, cut.axis) for cut in plan.cuts} or kind == "rec"  # whose width a residual pins
    apply_plan(student, plan)
    found = losses(kind, teacher, student, plan)["loss_distill_features"]
    if kind == "cls":  # whose only group makes them: those that are left are as they were
        assert found < 1e-9
    else:
        assert 0 < found < 100


class TwoBranches(nn.Layer):
    """A map that two branches add up to: there is no last layer."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2D(3, 1, 3, padding=1), nn.Conv2D(3, 1, 1)

    def forward(self, x):
        return F.sigmoid(self.one(x) + self.other(x))


def test_without_a_last_layer_outputs_alone_are_compared(tmp_path):
    paddle.seed(0)
    folder = export(TwoBranches(), tmp_path / "two", legacy=False)
    teacher, student = read("det", folder), read("det", folder)
    assert task_for("det").distilled({}, teacher).reader is None
    student.parameters()[0].set_value(student.parameters()[0] * 2)
    found = losses("det", teacher, student)
    assert set(found) == {"loss_distill_maps"} and found["loss_distill_maps"] > 1e-3
