"""Learning rates at given steps, and optimizers that step as they are told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.optimizer import lr as paddle_lr

from ocrslim.config.config import Config
from ocrslim.errors import ConfigError
from ocrslim.training.optimization.optimizers import build_optimizer, build_schedule
from ocrslim.training.span import Span

SPAN = Span(steps_per_epoch=10, epochs=5)


def rates(options: dict, steps: list[int]) -> list[float]:
    schedule = build_schedule(options, SPAN)
    found = []
    for step in steps:
        schedule.step(step)
        found.append(schedule())
    return found


def config(optimizer: dict, epochs: int = 5) -> Config:
    return Config(Path("test.yml"), {"Global": {"epoch_num": epochs}, "Optimizer": optimizer})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"learning_rate": 0.01}, {0: 0.01, 49: 0.01}, id="without a name: constant"),
        pytest.param({"name": "Const", "learning_rate": 0.01}, {0: 0.01, 7: 0.01}, id="constant"),
        pytest.param(
            {"name": "Const", "learning_rate": 0.01, "warmup_epoch": 2},
            {0: 0, 1: 0.0005, 10: 0.005, 19: 0.0095, 20: 0.01, 49: 0.01},
            id="constant after a warm-up of 20 steps",
        ),
        pytest.param(
            {"name": "Cosine", "learning_rate": 0.4},
            {0: 0.4, 25: 0.2, 50: 0, 10: 0.2 * (1 + math.cos(math.pi / 5))},
            id="cosine",
        ),
        pytest.param(
            {"name": "Cosine", "learning_rate": 0.4, "warmup_epoch": 1},
            {0: 0, 5: 0.2, 10: 0.4, 35: 0.2, 49: 0.2 * (1 + math.cos(math.pi * 39 / 50))},
            id="cosine after a warm-up: shifted, not compressed",
        ),
        pytest.param(
            {"name": "Piecewise", "decay_epochs": [2, 4], "values": [0.1, 0.01, 0.001], "learning_rate": 9},
            {0: 0.1, 19: 0.1, 20: 0.01, 39: 0.01, 40: 0.001, 49: 0.001},
            id="piecewise: changes with the first step of an epoch; learning_rate does not count",
        ),
        pytest.param(
            {"name": "Piecewise", "decay_epochs": [2], "values": [0.1, 0.01], "warmup_epoch": 1},
            {0: 0, 5: 0.05, 10: 0.1, 29: 0.1, 30: 0.01},
            id="piecewise after a warm-up: boundaries count from its end",
        ),
    ],
)
def test_rate_at_step(options: dict, expected: dict[int, float]) -> None:
    assert rates(options, list(expected)) == pytest.approx(list(expected.values()), abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("name", ["Cosine", "Piecewise"])
def test_equals_paddles_schedulers_as_paddleocr_puts_them_together(name: str, warmup: int) -> None:
    options = {"name": name, "warmup_epoch": warmup}
    if name == "Cosine":
        options["learning_rate"] = 0.3
        theirs = paddle_lr.CosineAnnealingDecay(0.3, T_max=50)
    else:
        options |= {"decay_epochs": [1, 3], "values": [0.3, 0.2, 0.1]}
        theirs = paddle_lr.PiecewiseDecay(boundaries=[10, 30], values=[0.3, 0.2, 0.1])
    if warmup:
        theirs = paddle_lr.LinearWarmup(theirs, warmup_steps=10, start_lr=0.0, end_lr=0.3)
    expected = []
    for _ in range(50):
        expected.append(theirs())
        theirs.step()
    assert rates(options, list(range(50))) == pytest.approx(expected, abs=1e-9)


def one_step(optimizer: dict, gradient: float = 1.0, start: float = 2.0) -> float:
    """The value of a parameter after one step."""
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    layer.weight.set_value(np.full((1, 1), start, np.float32))
    built, schedule = build_optimizer(config(optimizer), layer.named_parameters(), SPAN)
    schedule.step(0)
    (layer.weight * gradient).sum().backward()
    built.step()
    return float(layer.weight)


def test_first_steps_by_hand() -> None:
    lr = {"learning_rate": 0.1}
    assert one_step({"name": "Adam", "lr": lr}) == pytest.approx(1.9)  # Adam's first step is lr * sign
    assert one_step({"name": "Momentum", "momentum": 0.9, "lr": lr}, gradient=3) == pytest.approx(1.7)
    # AdamW: 0.01 unless said otherwise, off the weight itself
    assert one_step({"name": "AdamW", "lr": lr}) == pytest.approx(1.9 - 0.1 * 0.01 * 2, rel=1e-5)
    assert one_step({"name": "AdamW", "lr": lr, "weight_decay": 0.5}) == pytest.approx(1.9 - 0.1 * 0.5 * 2)
    l2 = {"name": "L2", "factor": 0.2}
    assert one_step({"name": "AdamW", "lr": lr, "regularizer": l2}) == pytest.approx(1.9 - 0.1 * 0.2 * 2)


def test_regularizers_by_hand() -> None:
    options = {"name": "Momentum", "momentum": 0.0, "lr": {"learning_rate": 0.1}}
    assert one_step(options | {"regularizer": {"name": "L2", "factor": 0.5}}) == pytest.approx(2 - 0.1 * (1 + 1))
    assert one_step(options | {"regularizer": {"name": "L1", "factor": 0.5}}) == pytest.approx(2 - 0.1 * 1.5)
    assert one_step(options | {"regularizer": {"name": "L2", "factor": 0}}) == pytest.approx(1.9)
    assert one_step(options | {"weight_decay": 0.5}) == pytest.approx(2 - 0.1 * (1 + 1))
    paddleocrs_name = {"name": "L2Decay", "factor": 0.5}
    assert one_step(options | {"regularizer": paddleocrs_name}) == pytest.approx(2 - 0.1 * (1 + 1))


def two_gradients(options: dict, first: float, second: float) -> list[float]:
    """How far one plain step with a rate of 1 moves two parameters with these gradients."""
    layers = [paddle.nn.Linear(1, 1, bias_attr=False) for _ in range(2)]
    before = [float(layer.weight) for layer in layers]
    optimizer = {"name": "Momentum", "momentum": 0.0, "lr": {"learning_rate": 1.0}, **options}
    built, _ = build_optimizer(
        config(optimizer), [(str(index), layer.weight) for index, layer in enumerate(layers)], SPAN
    )
    (layers[0].weight * first + layers[1].weight * second).sum().backward()
    built.step()
    return [b - float(layer.weight) for b, layer in zip(before, layers)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, [3, 4], id="none"),
        pytest.param({"clip_norm_global": 1}, [0.6, 0.8], id="all together: the direction stays"),
        pytest.param({"clip_norm_global": 6}, [3, 4], id="below the limit"),
        pytest.param({"clip_norm": 2}, [2, 2], id="each by itself"),
        pytest.param({"clip_norm": 2, "clip_norm_global": 1}, [2, 2], id="both: clip_norm, as in PaddleOCR"),
    ],
)
def test_gradients_are_limited(options: dict, expected: list[float]) -> None:
    assert two_gradients(options, 3, 4) == pytest.approx(expected, rel=1e-5)


def test_betas_reach_adam() -> None:
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    options = {"name": "Adam", "beta1": 0.5, "beta2": 0.25, "lr": {"learning_rate": 0.1}}
    optimizer, _ = build_optimizer(config(options), layer.named_parameters(), SPAN)
    (layer.weight * 2).sum().backward()
    optimizer.step()
    state = {
        name.rsplit("_", 1)[0].split("w_0_")[1]: float(v) for name, v in optimizer.state_dict().items() if "w_0" in name
    }
    assert state["moment1"] == pytest.approx(2 * 0.5)
    assert state["moment2"] == pytest.approx(4 * 0.75)


def test_schedule_drives_the_optimizer_over_all_epochs() -> None:
    layer = paddle.nn.Linear(1, 1)
    options = {"name": "Adam", "lr": {"name": "Cosine", "learning_rate": 0.4}}
    optimizer, schedule = build_optimizer(config(options, epochs=2), layer.named_parameters(), Span(10, 2))
    schedule.step(10)
    assert optimizer.get_lr() == pytest.approx(0.2)


def test_frozen_parameters_are_left_out() -> None:
    layer = paddle.nn.Linear(1, 1)
    layer.weight.stop_gradient = True
    optimizer, _ = build_optimizer(
        config({"name": "Adam", "lr": {"learning_rate": 1}}), layer.named_parameters(), Span(1, 5)
    )
    before = float(layer.weight)
    (layer.weight.sum() + layer.bias.sum()).backward()
    optimizer.step()
    assert float(layer.weight) == before
    assert float(layer.bias) != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Lion", "lr": {"learning_rate": 1}}, "Optimizer.name: 'Lion', expected one of Adadelta, Adam, AdamW"),
        ({"lr": {"name": "Cosin", "learning_rate": 1}}, "Optimizer.lr.name: 'Cosin', expected one of Const, Cosine"),
        (
            {"lr": {"learning_rate": 1}, "regularizer": {"name": "L3", "factor": 1}},
            "Optimizer.regularizer.name: 'L3', expected L1 or L2",
        ),
        (
            {"name": "AdamW", "lr": {"learning_rate": 1}, "regularizer": {"name": "L1", "factor": 1}},
            "Optimizer.regularizer.name: 'L1', expected L2",
        ),
    ],
)
def test_unknown_names_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_optimizer(config(options), paddle.nn.Linear(1, 1).named_parameters(), Span(1, 5))
    assert message in str(caught.value)
