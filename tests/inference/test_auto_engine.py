"""The engine that scores a network while it changes: the weights of the moment, and nothing of the network touched."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from detection import DETECTION, DISTILLED
from paddle import nn

from ocrslim import commands
from ocrslim.config.config import load_config
from ocrslim.errors import GraphError, LoweringError
from ocrslim.graph.program import Program
from ocrslim.inference import auto_engine as module
from ocrslim.inference.auto_engine import PAYS, AutoEngine
from ocrslim.inference.compiler.executable import Executable
from ocrslim.inference.engines import DygraphEngine
from ocrslim.models import read_weights, state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.pruning.surgery.cutting import apply_plan
from ocrslim.training.distillation import Distillation
from ocrslim.utils.hashing import hash_arrays

ARCHITECTURE = {
    "model_type": "det",
    "algorithm": "DB",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small", "disable_se": False},
    "Neck": {"name": "DBFPN", "out_channels": 16},
    "Head": {"name": "DBHead", "k": 50},
}


class Images:
    """Images of two sizes."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.arrays = [rng.normal(size=(1, 3, *size)).astype(np.float32) for size in ((64, 96), (96, 64), (64, 96))]

    def __len__(self) -> int:
        return len(self.arrays)

    def image(self, index: int) -> np.ndarray:
        return self.arrays[index]


def network(seed: int = 0) -> nn.Layer:
    paddle.seed(seed)
    model = build_model(ARCHITECTURE)
    changed(model)
    return model


def changed(model: nn.Layer) -> None:
    """Give every array other values, statistics of batch norms included."""
    for tensor in model.state_dict().values():
        tensor.set_value(tensor * (0.8 + 0.4 * paddle.rand(tensor.shape)) + 0.02 * paddle.rand(tensor.shape))


def maps(engine: DygraphEngine, images: Images) -> list[np.ndarray]:
    return [engine(image) for image in images.arrays]


def assert_maps(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is used for the smallest of evaluations."""
    monkeypatch.setattr(module, "PAYS", 0)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[nn.Layer]:
    """Every network that is traced."""
    found: list[nn.Layer] = []
    traced = module.traced_for_task

    def watched(model: nn.Layer, *more: object, **named: object) -> Program:
        found.append(model)
        return traced(model, *more, **named)

    monkeypatch.setattr(module, "traced_for_task", watched)
    return found


@pytest.mark.usefixtures("always")
def test_weights_changed_after_tracing_are_those_that_are_scored(
    images: Images, traces: list[nn.Layer], caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    engines, seen = AutoEngine(model, DETECTION), []
    for _ in range(3):
        with engines.engine(images) as engine:
            assert not isinstance(engine, DygraphEngine)
            found = maps(engine, images)
        assert_maps(found, maps(DygraphEngine(model), images))
        seen.append(found[0])
        changed(model)
    assert min(np.abs(seen[0] - seen[1]).max(), np.abs(seen[1] - seen[2]).max()) > 1e-2
    assert len(traces) == 1 and not caplog.messages


@pytest.mark.usefixtures("always")
def test_a_runtime_with_old_weights_would_be_noticed(
    images: Images, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Control: where the new weights do not reach the runtime, dygraph scores, and a line says so."""
    model = network()
    engines, variant = AutoEngine(model, DETECTION), module.Variant
    monkeypatch.setattr(module, "Variant", lambda **_: variant())
    with engines.engine(images) as engine:
        assert not isinstance(engine, DygraphEngine)
    changed(model)
    with engines.engine(images) as engine:
        assert isinstance(engine, DygraphEngine)
        assert_maps(maps(engine, images), maps(DygraphEngine(model), images))
    (line,) = caplog.messages
    assert "scoring without the fast runtime" in line and "off by" in line


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("ends", [None, KeyboardInterrupt, ValueError])
def test_the_network_is_left_as_it_was(images: Images, ends: type[BaseException] | None) -> None:
    model = network()
    model.train()
    model.backbone.eval()  # as somebody might freeze it
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    before, held = hash_arrays(state_arrays(model)), list(map(id, model.state_dict().values()))
    engines, kept = AutoEngine(model, DETECTION), []

    def score() -> None:
        with engines.engine(images) as engine:
            assert not model.training
            kept.append(weakref.ref(engine._run))
            engine(images.image(0))
            if ends is not None:
                raise ends

    if ends is None:
        score()
    else:
        with pytest.raises(ends):
            score()
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    assert hash_arrays(state_arrays(model)) == before
    assert list(map(id, model.state_dict().values())) == held  # an optimizer has these
    gc.collect()
    assert kept[0]() is None  # its memory is free
    with engines.engine(images) as engine:
        assert not isinstance(engine, DygraphEngine)


@pytest.mark.usefixtures("always")
def test_a_network_that_cannot_be_traced_is_scored_in_dygraph(
    images: Images, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise GraphError("no such operator")

    monkeypatch.setattr(module, "traced_for_task", refuse)
    model = network()
    model.train()
    engines = AutoEngine(model, DETECTION)
    for _ in range(3):
        with engines.engine(images) as engine:
            assert isinstance(engine, DygraphEngine)
    assert model.training
    assert [line for line in caplog.messages if "no such operator" in line] == caplog.messages[:1] == caplog.messages


@pytest.mark.usefixtures("always")
def test_a_runtime_that_fails_on_an_image_is_given_up(
    images: Images, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, run = network(), Executable.__call__

    def failing(self: Executable, inputs: list[np.ndarray]) -> list[np.ndarray]:
        if inputs[0].shape[2:] == (96, 64):
            raise LoweringError("out of memory")
        return run(self, inputs)

    monkeypatch.setattr(Executable, "__call__", failing)
    with AutoEngine(model, DETECTION).engine(images) as engine:
        assert_maps(maps(engine, images), maps(DygraphEngine(model), images))
    assert len(caplog.messages) == 1 and "out of memory" in caplog.messages[0]


def test_few_images_do_not_pay_for_a_trace(images: Images, traces: list[nn.Layer]) -> None:
    engines = AutoEngine(network(), DETECTION)
    with engines.engine(images) as engine:
        assert isinstance(engine, DygraphEngine)
    assert not traces
    images.arrays = [np.zeros((1, 3, 96, 64), np.float32)] * math.ceil(PAYS / (96 * 64))
    with engines.engine(images) as engine:
        assert not isinstance(engine, DygraphEngine)
    images.arrays.pop()
    with engines.engine(images) as engine:
        assert isinstance(engine, DygraphEngine)


@pytest.mark.usefixtures("always")
def test_a_gpu_keeps_dygraph(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    with AutoEngine(network(), DETECTION).engine(images) as engine:
        assert isinstance(engine, DygraphEngine)


@pytest.mark.usefixtures("always")
def test_a_pruned_network_that_learns_from_a_teacher(images: Images, caplog: pytest.LogCaptureFixture) -> None:
    """What distillation hangs on the neck is no hindrance, and sees nothing of the scoring."""
    teacher, student = network(), network()
    keep = (*range(13), 14)  # of the neck's 16 channels, the finest map's four come last
    cuts = [Cut(f"head.{branch}.conv1.weight", 1, 16, keep) for branch in ("binarize", "thresh")]
    plan = Plan(ARCHITECTURE, (Cut("neck.p2_conv.weight", 0, 4, (0, 2)), *cuts))
    apply_plan(student, plan)
    with Distillation(teacher, student, plan, {"maps": 1, "features": 1}, DISTILLED) as distillation:
        with AutoEngine(student, DETECTION).engine(images) as engine:
            assert not isinstance(engine, DygraphEngine)
            assert_maps(maps(engine, images), maps(DygraphEngine(student), images))
        student.train()
        batch = paddle.to_tensor(np.concatenate([images.image(0), images.image(2)]))
        losses = distillation.losses(batch, student(batch))
    assert set(losses) == {"loss_distill_maps", "loss_distill_features"}
    assert not caplog.messages


def trained(config_path: Path, options: list[str], out: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The result of a short training that averages weights, and the weights after its last step."""
    more = [f"Global.save_model_dir={out}", "Global.epoch_num=2", "Global.eval_batch_step=[0,2]"]
    config = load_config(config_path, [*options, *more, "Optimizer.ema={decay: 0.5}", "Optimizer.lr.warmup_epoch=0"])
    return commands.run_train(config), read_weights(out / "latest.pdparams")


def scores(result: dict[str, Any]) -> list[float]:
    return [entry[name] for entry in result["history"] for name in ("precision", "recall", "hmean")]


@pytest.mark.slow
def test_training_and_eval_score_alike_on_both_runtimes(
    v2_config: Path,
    rendered_options: list[str],
    pp_ocrv2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    traces,
) -> None:
    options = [*rendered_options, f"Global.pretrain_weights={pp_ocrv2}"]
    slow, there = trained(v2_config, options, tmp_path / "slow")
    assert not traces
    monkeypatch.setattr(module, "PAYS", 0)
    fast, here = trained(v2_config, options, tmp_path / "fast")
    assert len(traces) == 1  # for three evaluations
    assert scores(fast) == pytest.approx(scores(slow), abs=5e-4)
    assert len(set(scores(fast))) > 3 and max(scores(fast)) > 0.3  # not all nothing
    for key in there:
        np.testing.assert_array_equal(here[key], there[key], err_msg=key)  # training took no notice
    best = [*rendered_options, f"Global.pretrain_weights={tmp_path}/fast/best_accuracy"]
    found = commands.run_eval(load_config(v2_config, best))
    assert len(traces) == 2
    assert found["hmean"] == pytest.approx(fast["best"]["hmean"], abs=5e-4)
