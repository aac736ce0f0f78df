"""Schedules and optimizers against PaddleOCR's own: the same rates at every step, the same weights after some."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from checkout import require_zoo

from ocrslim.config.config import Config
from ocrslim.ppocr import base_model
from ocrslim.training.optimization.optimizers import build_optimizer, build_schedule
from ocrslim.training.span import Span

SPAN = Span(steps_per_epoch=7, epochs=12)
LONG = Span(steps_per_epoch=2, epochs=320)
RATE = {"learning_rate": 0.3}


@pytest.fixture(scope="module")
def theirs() -> Any:
    """PaddleOCR's package of optimizers."""
    require_zoo()
    base_model()  # finds the package
    return importlib.import_module("ppocr.optimizer")


@pytest.mark.parametrize(
    ("options", "span"),
    [
        pytest.param({"name": "Const", **RATE, "warmup_epoch": 2}, SPAN, id="Const, warm-up"),
        pytest.param({"name": "Cosine", **RATE, "warmup_epoch": 1}, SPAN, id="Cosine, warm-up"),
        pytest.param({"name": "Linear", **RATE, "end_lr": 0.01, "power": 0.9, "epochs": 3}, SPAN, id="Linear"),
        pytest.param({"name": "Linear", **RATE, "warmup_epoch": 2}, SPAN, id="Linear, warm-up"),
        pytest.param({"name": "DecayLearningRate", **RATE, "factor": 0.5, "end_lr": 0.1}, SPAN, id="DecayLearningRate"),
        pytest.param({"name": "Step", **RATE, "step_size": 3, "gamma": 0.1}, SPAN, id="Step"),
        pytest.param(
            {"name": "Step", **RATE, "step_size": 3, "gamma": 0.1, "warmup_epoch": 1}, SPAN, id="Step, warm-up"
        ),
        pytest.param({"name": "MultiStepDecay", **RATE, "milestones": [2, 5], "gamma": 0.3}, SPAN, id="MultiStepDecay"),
        pytest.param({"name": "CyclicalCosine", **RATE, "cycle": 4}, SPAN, id="CyclicalCosine"),
        pytest.param({"name": "OneCycle", "max_lr": 0.3}, SPAN, id="OneCycle"),
        pytest.param({"name": "OneCycle", "max_lr": 0.3, "three_phase": True}, SPAN, id="OneCycle, three phases"),
        pytest.param({"name": "OneCycle", "max_lr": 0.3, "anneal_strategy": "linear"}, SPAN, id="OneCycle, linear"),
        pytest.param({"name": "OneCycle", "max_lr": 0.3, "warmup_epoch": 2}, SPAN, id="OneCycle, warm-up"),
        pytest.param({"name": "TwoStepCosine", **RATE, "warmup_epoch": 2}, LONG, id="TwoStepCosine"),
        pytest.param({"name": "Piecewise", "decay_epochs": [2, 5], "values": [0.3, 0.2, 0.1]}, SPAN, id="Piecewise"),
        pytest.param({"name": "LinearWarmupCosine", **RATE, "warmup_steps": 9, "min_lr": 0.01}, SPAN, id="after steps"),
    ],
)
def test_rates_are_paddleocr_s_at_every_step(options, span, theirs):
    if options["name"] not in dir(importlib.import_module("ppocr.optimizer.learning_rate")):
        pytest.skip(f"this PaddleOCR has no {options['name']}")
    reference = theirs.build_lr_scheduler(dict(options), span.epochs, span.steps_per_epoch)
    schedule = build_schedule(options, span)
    expected, found = [], []
    for step in range(span.steps):
        schedule.step(step)
        expected.append(reference.get_lr() if not step else reference.last_lr)
        found.append(schedule())
        reference.step()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "Adam", "beta1": 0.8, "beta2": 0.99, "regularizer": {"name": "L2", "factor": 0.1}},
        {"name": "Adam", "weight_decay": 0.1, "clip_norm": 0.5},
        {"name": "AdamW", "weight_decay": 0.1},
        {"name": "AdamW", "weight_decay": 0.4, "one_dim_param_no_weight_decay": True},
        {"name": "AdamW", "weight_decay": 0.4, "no_weight_decay_name": "0.weight embed"},
        {"name": "Momentum", "momentum": 0.8, "weight_decay": 0.2, "clip_norm_global": 0.3},
        {"name": "RMSProp", "momentum": 0.3, "rho": 0.9, "regularizer": {"name": "L2", "factor": 0.1}},
        {"name": "Adadelta", "rho": 0.9},
    ],
)
def test_weights_are_paddleocr_s_after_three_steps(options, theirs):
    section = {**options, "lr": {"name": "Const", "learning_rate": 0.05}}
    first = _layers()
    ours, _ = build_optimizer(Config(Path("x"), {"Optimizer": section}), first.named_parameters(), SPAN)
    second = _layers()
    reference = theirs.build_optimizer(section, SPAN.epochs, SPAN.steps_per_epoch, second)[0]
    for model, optimizer in ((first, ours), (second, reference)):
        for step in range(3):
            model(paddle.full([2, 3], 1.0 + step)).square().sum().backward()
            optimizer.step()
            optimizer.clear_grad()
    start = _layers().state_dict()
    for key, value in first.state_dict().items():
        np.testing.assert_allclose(value.numpy(), second.state_dict()[key].numpy(), rtol=1e-5, atol=1e-7, err_msg=key)
        assert np.abs(value.numpy() - start[key].numpy()).max() > 1e-5, f"{key} does not move"


def _layers() -> paddle.nn.Layer:
    paddle.seed(3)
    return paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.LayerNorm(4), paddle.nn.Linear(4, 2))
