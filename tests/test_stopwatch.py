"""What is timed where a latency is the target."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.config import load_config
from ocrslim.models import build_model
from ocrslim.runtime import variants
from ocrslim.runtime.steps import CONV, DECONV
from ocrslim.scoring import detector_graph
from ocrslim.stopwatch import Stopwatch
from ocrslim.weights import state_arrays

_SHAPE = (1, 3, 64, 64)


@pytest.fixture
def detector(v2_config):
    model = build_model(load_config(v2_config).section("Architecture"))
    model.eval()
    return model, detector_graph(model)


def test_the_layers_of_the_export_are_timed_and_not_a_cheaper_equivalent(detector, monkeypatch):
    model, graph = detector
    loaded = []

    def spy(steps, *others):
        loaded.append(sum(step.kind in (CONV, DECONV) for step in steps))
        return lower(steps, *others)

    lower = variants.lower
    monkeypatch.setattr(variants, "lower", spy)
    watch = Stopwatch(model, graph, _SHAPE)
    full, part = watch.of_removed({"neck.in2_conv.weight": 48})
    assert full > 0 and part > 0
    assert loaded[-2:] == [len(graph.layers)] * 2, "one step for each layer with multiply-accumulates"


def test_the_network_is_put_back(detector):
    model, graph = detector
    before = state_arrays(model)
    Stopwatch(model, graph, _SHAPE).of_removed({"neck.p2_conv.weight": 16})
    after = state_arrays(model)
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
