"""The input's shape, from the transforms of a configuration."""

from __future__ import annotations

import pytest

from ocrslim.tasks import task_of
from ocrslim.tasks.input_shape import InputShape, input_shape

DEFAULT = InputShape(3, 48, 320, free=True)


def tree(entry, mode="Eval", **architecture):
    return {mode: {"dataset": {"transforms": [{"DecodeImage": None}, entry]}}, "Architecture": architecture}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(tree({"RecResizeImg": {"image_shape": [3, 32, 100]}}), (3, 32, 100, True), id="ratio-kept"),
        pytest.param(
            tree({"RecResizeImg": {"image_shape": [3, 32, 100], "padding": False}}), (3, 32, 100, False), id="stretched"
        ),
        pytest.param(
            tree({"RecResizeImg": {"image_shape": [3, 32, 100]}}, Transform={"name": "TPS"}),
            *((3, 32, 100, False),),
            id="tps",
        ),
        pytest.param(
            tree({"SVTRRecResizeImg": {"image_shape": [3, 64, 256], "padding": False}}), (3, 64, 256, False), id="svtr"
        ),
        pytest.param(
            tree({"RecResizeImg": {"image_shape": [3, 32, 320]}}, algorithm="SVTR"), (3, 32, 320, False), id="svtr-ch"
        ),
        pytest.param(tree({"SARRecResizeImg": {"image_shape": [3, 48, 48, 160]}}), (3, 48, 160, False), id="sar"),
        pytest.param(tree({"GrayRecResizeImg": {"image_shape": [100, 32]}}), (1, 32, 100, False), id="grey"),
        pytest.param(tree({"SRNRecResizeImg": {"image_shape": [1, 64, 256]}}), (1, 64, 256, False), id="srn"),
        pytest.param(tree({"PRENResizeImg": {"image_shape": [64, 256]}}), (3, 64, 256, False), id="pren"),
        pytest.param(tree({"ClsResizeImg": {"image_shape": [3, 80, 160]}}), (3, 80, 160, False), id="cls"),
        pytest.param(tree({"RecResizeImg": {"image_shape": [3, 32, 96]}}, "Train"), (3, 32, 96, True), id="train-only"),
        pytest.param({"Global": {"d2s_train_image_shape": [3, 40, -1]}}, (3, 40, 320, True), id="d2s"),
        pytest.param({"Global": {"d2s_train_image_shape": [3, 48, 320]}, "Eval": None}, (3, 48, 320, True), id="d2s-w"),
        pytest.param({}, (3, 48, 320, True), id="nothing"),
    ],
)
def test_the_shape_is_that_of_the_transforms(given, expected):
    assert input_shape(given, DEFAULT) == InputShape(*expected)


def test_what_may_vary():
    free, fixed = InputShape(3, 48, 320, True), InputShape(1, 32, 100)
    assert (free.nominal, free.probe, free.variable) == ((1, 3, 48, 320), (1, 3, 48, 96), (-1, 3, 48, -1))
    assert (fixed.nominal, fixed.probe, fixed.variable) == ((1, 1, 32, 100), (1, 1, 32, 100), (-1, 1, 32, 100))


@pytest.mark.parametrize("name", ["rec", "cls"])
def test_the_task_has_them_and_the_one_that_is_registered_stays(name):
    before = task_of(name).nominal_shape
    task = task_of(name).configured(tree({"RecResizeImg": {"image_shape": [3, 32, 100]}}))
    assert task.nominal_shape == (1, 3, 32, 100) and task.free_shape == (-1, 3, 32, -1)
    assert task_of(name).nominal_shape == before
