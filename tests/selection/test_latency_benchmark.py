"""What is timed where a latency is the target."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from detection import DETECTION

from ocrslim.config.config import load_config
from ocrslim.models import state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.prunable import model_graph
from ocrslim.selection.latency import benchmark as stopwatch
from ocrslim.selection.latency.benchmark import Stopwatch

_SHAPE = (1, 3, 64, 64)
_SECONDS = 0.05


@pytest.fixture
def detector(v2_config):
    model = build_model(load_config(v2_config).section("Architecture"))
    model.eval()
    return model, model_graph(model, DETECTION)


@pytest.mark.slow
def test_the_export_of_the_pruned_network_is_timed_beside_that_of_the_unpruned_one(detector, monkeypatch):
    model, graph = detector
    saved, folders = [], []

    def save(network, prefix, shape):
        saved.append(network.state_dict()["neck.in2_conv.weight"].shape[0])
        folders.append(prefix.parent)
        return save_inference(network, prefix, shape)

    save_inference = stopwatch.save_inference
    monkeypatch.setattr(stopwatch, "save_inference", save)
    full, part = Stopwatch(model, graph, DETECTION).of_removed({"neck.in2_conv.weight": 48})
    assert full > 0 and part > 0 and saved == [96, 48]
    assert not any(folder.exists() for folder in folders)


@pytest.mark.slow
def test_the_network_is_put_back(detector):
    model, graph = detector
    before = state_arrays(model)
    Stopwatch(model, graph, DETECTION).of_removed({"neck.p2_conv.weight": 16})
    after = state_arrays(model)
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
    assert model(_image())["maps"].shape == [1, 1, 64, 64], "and still runs"


@pytest.mark.slow
def test_threads_that_a_library_leaves_spinning_are_not_counted(detector, monkeypatch):
    class Spinning:
        def __init__(self, *_, **__): ...

        def __call__(self, _):
            thread = threading.Thread(target=_spin)
            thread.start()
            thread.join()

    monkeypatch.setattr(stopwatch, "save_inference", lambda *_: None)
    monkeypatch.setattr(stopwatch, "InferenceEngine", Spinning)
    model, graph = detector
    full, _ = Stopwatch(model, graph, DETECTION).of_removed({"neck.p2_conv.weight": 16})
    assert full < 1000 * _SECONDS / 2


def _spin():
    until = time.thread_time() + _SECONDS
    while time.thread_time() < until:
        pass


def _image():
    import paddle

    return paddle.zeros(list(_SHAPE))
