"""The training loop: what it keeps, where it continues, and that being stopped changes nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
import yaml
from paddle import nn

from ocrslim import artifacts, trainer
from ocrslim.artifacts import hash_arrays
from ocrslim.checkpoints import first_difference, load_state
from ocrslim.config import Config, load_config
from ocrslim.data import scan
from ocrslim.errors import ArtifactError, TrainingError
from ocrslim.finetune import FitResult, fit
from ocrslim.models import build_model
from ocrslim.pruning.plan import Cut, Plan
from ocrslim.weights import read_weights

STEPS, EPOCHS = 4, 3
TRANSFORMS = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"DetLabelEncode": None},
    {
        "IaaAugment": {
            "augmenter_args": [
                {"type": "Fliplr", "args": {"p": 0.5}},
                {"type": "Affine", "args": {"rotate": [-10, 10]}},
                {"type": "Resize", "args": {"size": [0.8, 1.5]}},
            ]
        }
    },
    {"EastRandomCropData": {"size": [64, 64], "max_tries": 10, "keep_ratio": True}},
    {"MakeBorderMap": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"MakeShrinkMap": {"shrink_ratio": 0.4, "min_text_size": 8}},
    {"NormalizeImage": {"scale": "1./255.", "mean": [0.5] * 3, "std": [0.5] * 3, "order": "hwc"}},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"]}},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of one dark bar each, with its box as label."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    lines = []
    for index in range(8):
        x, y = (int(v) for v in rng.integers(4, 24, 2))
        image = rng.integers(150, 255, (80, 96, 3), dtype=np.uint8)
        cv2.rectangle(image, (x, y), (x + 50, y + 20), (20, 20, 20), -1)
        cv2.imwrite(str(folder / f"{index}.png"), image)
        box = [[x, y], [x + 50, y], [x + 50, y + 20], [x, y + 20]]
        lines.append(f"{index}.png\t" + json.dumps([{"transcription": "bar", "points": box}]))
    (folder / "labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_config(images: Path, out: Path, *overrides: str) -> Config:
    tree = {
        "Global": {"epoch_num": EPOCHS, "eval_batch_step": [0, 3], "print_batch_step": 1, "save_model_dir": str(out)},
        "Architecture": {
            "model_type": "det",
            "algorithm": "DB",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small", "disable_se": True},
            "Neck": {"name": "DBFPN", "out_channels": 16},
            "Head": {"name": "DBHead", "k": 50},
        },
        "Loss": {"name": "DBLoss"},
        "Optimizer": {
            "name": "Adam",
            "lr": {"name": "Cosine", "learning_rate": 0.01, "warmup_epoch": 1},
            "regularizer": {"name": "L2", "factor": 1e-4},
        },
        "Metric": {"name": "DetMetric", "main_indicator": "hmean"},
        "Train": {
            "dataset": {
                "name": "SimpleDataSet",
                "data_dir": str(images),
                "label_file_list": [str(images / "labels.txt")],
                "transforms": TRANSFORMS,
            },
            "loader": {"shuffle": True, "batch_size_per_card": 2, "num_workers": 0},
        },
    }
    path = out.parent / "config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return load_config(path, overrides)


class Tiny(nn.Layer):
    """Two convolutions in place of a detector."""

    training_only = ()

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2D(6)
        self.maps = nn.Conv2D(6, 3, 3, padding=1)

    def forward(self, x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        maps = nn.functional.sigmoid(self.maps(nn.functional.relu(self.norm(self.conv(x)))))
        return {"maps": maps if self.training else maps[:, :1]}


def tiny(seed: int = 0) -> Tiny:
    paddle.seed(seed)
    return Tiny()


Scores = Callable[[], dict[str, float]]


def scores_from(values: list[float]) -> Scores:
    """An evaluation that gives `values` one after the other, then the last for ever."""
    left = list(values)
    return lambda: {"precision": 0.5, "recall": 0.5, "hmean": left.pop(0) if len(left) > 1 else left[0]}


def score_of(model: nn.Layer) -> Scores:
    """A score that depends on the weights alone and goes up and down in training."""

    def score() -> dict[str, float]:
        assert not model.training
        digest = hash_arrays({k: v.numpy() for k, v in model.state_dict().items()})
        return {"precision": 0.1, "recall": 0.2, "hmean": int(digest[:4], 16) / 65536}

    return score


class Batches:
    """The loader's batches without images: they depend on epoch and place alone."""

    def __init__(self, config: Config, labelled: object, epoch: int, skip_batches: int = 0):
        self._places = [(epoch, index) for index in range(skip_batches, STEPS)]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[list[paddle.Tensor]]:
        for place in self._places:
            rng = np.random.default_rng(place)
            text = (rng.random((2, 8, 8)) < 0.3).astype(np.float32)
            ones = np.ones_like(text)
            image = rng.normal(size=(2, 3, 8, 8)).astype(np.float32) + text[:, None]
            yield [paddle.to_tensor(array) for array in (image, 0.5 * ones, ones, text, ones)]


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train_loader", Batches)


def weights(folder: Path, name: str = "latest") -> dict[str, np.ndarray]:
    return read_weights(folder / f"{name}.pdparams")


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=atol, err_msg=key)


def run(config: Config, model: nn.Layer | None = None, evaluate: Scores | None = None, **more) -> FitResult:
    model = model or tiny()
    return fit(model, config, more.pop("labelled", None), evaluate or score_of(model), **more)


class Stop(BaseException):
    """A death that no handler sees, as kill -9."""


def stop_after(count: int, error: type[BaseException] = Stop) -> Scores:
    """An evaluation that works `count` times."""
    left = [count]

    def score() -> dict[str, float]:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return {"precision": 0.5, "recall": 0.5, "hmean": 0.5}

    return score


# --- what a run leaves -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_images")
def test_keeps_best_and_latest(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = tiny()
    result = run(make_config(images, out), model, scores_from([0.2, 0.4, 0.9, 0.3, 0.1]), origin={"weights": "abc"})
    assert [entry.step for entry in result.history] == [0, 3, 6, 9, 12]
    assert (result.start.metrics["hmean"], result.best.metrics["hmean"], result.last.metrics["hmean"]) == (
        0.2,
        0.9,
        0.1,
    )
    assert (result.best.step, result.best.epoch) == (6, 2)
    best = json.loads((out / "best_accuracy.json").read_text())
    assert (best["metric"], best["hmean"], best["step"], best["epoch"]) == ("hmean", 0.9, 6, 2)
    assert best["origin"] == {"weights": "abc"}
    assert best["weights"] == hash_arrays(weights(out, "best_accuracy"))
    latest = json.loads((out / "latest.json").read_text())
    assert (latest["global_step"], latest["best"]["step"], len(latest["history"])) == (12, 6, 5)
    assert {k for k, v in weights(out).items() if (v != weights(out, "best_accuracy")[k]).any()}
    assert_same({k: v.numpy() for k, v in model.state_dict().items()}, weights(out, "best_accuracy"), 0)
    assert not model.training
    assert load_config(out / "config.yml").tree == make_config(images, out).tree
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    json.dumps(result.to_json())


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize(
    ("found", "best"),
    [
        pytest.param([0.7, 0.1, 0.2, 0.3, 0.6], 0, id="nothing better follows: as it came"),
        pytest.param([0.0, 0.0, 0.0, 0.0, 0.0], 12, id="equal scores: the later one"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.5], 12, id="the last one, evaluated at the very end"),
    ],
)
def test_best_is_never_worse_than_the_start(images: Path, tmp_path: Path, found: list[float], best: int) -> None:
    model = tiny()
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    result = run(make_config(images, tmp_path / "out"), model, scores_from(found))
    assert result.best.step == best
    if best == 0:
        assert_same(weights(tmp_path / "out", "best_accuracy"), start, 0)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize(
    ("when", "steps"),
    [
        ("[0, 5]", [0, 5, 10, 12]),
        ("[4, 4]", [0, 8, 12]),  # as PaddleOCR: not at the first step itself
        ("6", [0, 6, 12]),  # the last step is not evaluated twice
        ("[0, 1000]", [0, 12]),
    ],
)
def test_evaluates_when_told_and_at_the_end(images: Path, tmp_path: Path, when: str, steps: list[int]) -> None:
    result = run(make_config(images, tmp_path / "out", f"Global.eval_batch_step={when}"))
    assert [entry.step for entry in result.history] == steps


@pytest.mark.usefixtures("no_images")
def test_main_indicator_decides(images: Path, tmp_path: Path) -> None:
    config = make_config(images, tmp_path / "out", "Metric.main_indicator=recall")
    recalls = iter([0.3, 0.8, 0.1, 0.1, 0.1])
    result = run(config, evaluate=lambda: {"precision": 0.0, "recall": next(recalls), "hmean": 0.0})
    assert (result.metric, result.best.step) == ("recall", 3)


@pytest.mark.usefixtures("no_images")
def test_keeps_every_nth_epoch_if_told(images: Path, tmp_path: Path) -> None:
    run(make_config(images, tmp_path / "out", "Global.save_epoch_step=2"))
    assert [path.name for path in (tmp_path / "out").glob("iter_epoch_*")] == ["iter_epoch_2.pdparams"]


def test_training_mode_moves_batch_norm_and_lowers_the_loss(images: Path, tmp_path: Path) -> None:
    config = make_config(images, tmp_path / "out", "Global.epoch_num=6", "Global.eval_batch_step=[0, 8]")
    model = tiny()
    mean = model.norm._mean.numpy().copy()
    result = run(config, model, labelled=scan(config, "Train"))
    assert (model.norm._mean.numpy() != mean).any() or result.best.step == 0
    assert (weights(tmp_path / "out")["norm._mean"] != mean).any()
    losses = [entry.loss for entry in result.history]
    assert losses[0] is None
    assert losses[-1] < losses[1]


def plan_of(config: Config) -> Plan:
    return Plan(config.section("Architecture"), (Cut("neck.in2_conv.weight", 0, 16, tuple(range(8))),))


@pytest.mark.usefixtures("no_images")
def test_plan_lies_beside_every_checkpoint(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = make_config(images, out, "Global.save_epoch_step=3")
    run(config, plan=plan_of(config))
    for name in ("best_accuracy", "latest", "iter_epoch_3"):
        assert Plan.load(out / f"{name}.plan.json").hash() == plan_of(config).hash()


# --- stopped and resumed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_in_mid_epoch_ends_with_the_same_weights(images: Path, tmp_path: Path, workers: int, caplog) -> None:
    """The real network, real augmentations; stopped twice; new objects after every stop."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    option = f"Train.loader.num_workers={workers}"

    def network() -> nn.Layer:
        paddle.seed(3)
        return build_model(make_config(images, whole).section("Architecture"))

    config = make_config(images, whole)
    expected = run(config, network(), labelled=scan(config, "Train"))
    config = make_config(images, parts, option)
    caplog.set_level(logging.INFO)
    for stop in (1, 1):
        with pytest.raises(KeyboardInterrupt):
            run(config, network(), stop_after(stop, KeyboardInterrupt), labelled=scan(config, "Train"))
        paddle.nn.Linear(3, 3)  # automatic parameter names move on
    assert f"{parts}/latest.pdopt: continues at epoch 1 of 3, step 3 of 4" in caplog.text
    network_at_last = network()
    result = run(config, network_at_last, labelled=scan(config, "Train"))
    assert f"{parts}/latest.pdopt: continues at epoch 2 of 3, step 2 of 4" in caplog.text
    assert result.continued_at == 6
    assert_same(weights(parts), weights(whole))
    assert [e.step for e in result.history] == [e.step for e in expected.history]
    moved = [k for k, v in weights(whole).items() if (v != network().state_dict()[k].numpy()).any()]
    assert len(moved) > 50  # it is training that agrees, not standing still


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Momentum"])
def test_every_optimizer_resumes_exactly(images: Path, tmp_path: Path, optimizer: str) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    options = ["Optimizer={name: %s, lr: {name: Const, learning_rate: 0.01}}" % optimizer]
    run(make_config(images, whole, *options))
    with pytest.raises(Stop):
        run(make_config(images, parts, *options), evaluate=stop_after(2))
    run(make_config(images, parts, *options))
    assert_same(weights(parts), weights(whole), 0)


@pytest.mark.usefixtures("no_images")
def test_the_optimizer_state_matters(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without it a resumed run ends elsewhere."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    run(make_config(images, whole))
    with pytest.raises(Stop):
        run(make_config(images, parts), evaluate=stop_after(2))
    monkeypatch.setattr("ocrslim.checkpoints._restore_optimizer", lambda *_: None)
    run(make_config(images, parts))
    with pytest.raises(AssertionError):
        assert_same(weights(parts), weights(whole))


class Deaths:
    """Kills the process, as far as the disk is concerned, before or after the n-th file takes its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, after: bool):
        self.names: list[str] = []
        replace = Path.replace

        def dying(path: Path, target: Path) -> Path:
            self.names.append(Path(target).name)
            if len(self.names) == at and not after:
                raise Stop
            done = replace(path, target)
            if len(self.names) == at:
                raise Stop
            return done

        monkeypatch.setattr(Path, "replace", dying)


@pytest.mark.usefixtures("no_images")
def test_a_death_at_any_write_loses_nothing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(name: str) -> tuple[Config, Plan]:
        config = make_config(images, tmp_path / name / "out", "Global.epoch_num=2", "Global.save_epoch_step=2")
        return config, plan_of(config)

    monkeypatch.setattr(artifacts.os, "fsync", lambda _: None)  # nobody pulls the plug here: saves time
    config, plan = settings("whole")
    with monkeypatch.context() as patch:
        count = Deaths(patch, at=0, after=False)
        expected = run(config, plan=plan)
    assert {"latest.pdopt", "latest.pdparams", "latest.json", "best_accuracy.pdparams"} <= set(count.names)
    for at in range(1, len(count.names) + 1):
        for after in (False, True):
            config, plan = settings(f"{at}{after}")
            out = config.save_model_dir
            with monkeypatch.context() as patch, pytest.raises(Stop):
                Deaths(patch, at, after)
                run(config, plan=plan)
            for name in ("best_accuracy", "latest"):  # whatever lies there is whole and has its plan
                if (out / f"{name}.pdparams").exists():
                    assert weights(out, name).keys() == weights(tmp_path / "whole" / "out").keys()
                    assert (out / f"{name}.plan.json").exists()
            result = run(config, plan=plan)
            assert result.best == expected.best, (at, after)
            for name in ("best_accuracy", "latest"):
                assert_same(weights(out, name), weights(tmp_path / "whole" / "out", name), 0)
            assert result.history == expected.history
            assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import test_finetune as t
from pathlib import Path
t.trainer.train_loader = t.Batches
t.trainer.SAVE_SECONDS = 0.0
config = t.make_config(Path({images!r}), Path({out!r}), 'Global.epoch_num=500', 'Global.eval_batch_step=[0, 7]')
model = t.tiny()
if {slow}:
    forward = model.forward
    model.forward = lambda x: (time.sleep(0.02), forward(x))[1]
try:
    t.run(config, model)
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextlib.contextmanager
def in_subprocess(images: Path, out: Path, slow: bool = True) -> Iterator[subprocess.Popen]:
    """A run of 2000 steps in a process of its own, once it has done some."""
    code = SCRIPT.format(tests=str(Path(__file__).parent), images=str(images), out=str(out), slow=slow)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(FileNotFoundError, ValueError):
                if json.loads((out / "latest.json").read_text())["global_step"] >= 5:
                    break
            time.sleep(0.05)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def test_kill_9_in_another_process(images: Path, tmp_path: Path, no_images: None) -> None:
    out = tmp_path / "killed" / "out"
    with in_subprocess(images, out) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    state = load_state(out / "latest.pdopt")
    assert 5 <= state.progress.step < 2000
    options = ["Global.epoch_num=500", "Global.eval_batch_step=[0, 7]"]
    model = tiny()
    with pytest.raises(Stop):
        run(make_config(images, out, *options), model, stop_after(3))
    again = load_state(out / "latest.pdopt")
    whole = tmp_path / "whole" / "out"
    with pytest.raises(Stop):
        run(make_config(images, whole, *options), evaluate=stop_after(again.progress.step // 7 + 0))
    reference = load_state(whole / "latest.pdopt")
    assert reference.progress.step == again.progress.step
    assert_same(again.weights, reference.weights)
    assert_same(again.optimizer, reference.optimizer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_stop(images: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    with in_subprocess(images, out) as process:
        process.send_signal(number)
        assert process.wait(timeout=30) == 130
    assert load_state(out / "latest.pdopt").progress.step >= 5


@pytest.mark.usefixtures("no_images")
def test_a_signal_within_a_step_waits_for_its_end(images: Path, tmp_path: Path) -> None:
    """The weights that Ctrl-C leaves are those of a whole step."""
    config = make_config(images, tmp_path / "stopped" / "out")
    model = tiny()
    forward, calls = model.forward, []

    def interrupted(x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(x)

    model.forward = interrupted
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(config, model)
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_state(tmp_path / "stopped" / "out" / "latest.pdopt").progress.step == 5
    run(config)
    run(make_config(images, tmp_path / "whole" / "out"))
    assert_same(weights(tmp_path / "stopped" / "out"), weights(tmp_path / "whole" / "out"), 0)


@pytest.mark.usefixtures("no_images")
def test_an_interrupted_evaluation_costs_no_step(images: Path, tmp_path: Path) -> None:
    config = make_config(images, tmp_path / "out")
    with pytest.raises(Stop):
        run(config, evaluate=stop_after(2))
    assert load_state(tmp_path / "out" / "latest.pdopt").progress.step == 6


@pytest.mark.usefixtures("no_images")
def test_saves_now_and_then(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)
    config = make_config(images, tmp_path / "out", "Global.eval_batch_step=[0, 100]")
    model = tiny()
    forward, calls = model.forward, []

    def dying(x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        calls.append(1)
        if len(calls) == 4:
            raise Stop
        return forward(x)

    model.forward = dying
    with pytest.raises(Stop):
        run(config, model)
    assert load_state(tmp_path / "out" / "latest.pdopt").progress.step == 3


# --- whose folder it is ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_images")
def test_a_finished_run_says_so(images: Path, tmp_path: Path, caplog) -> None:
    config = make_config(images, tmp_path / "out")
    first = run(config)
    before = (tmp_path / "out" / "latest.pdopt").read_bytes()
    caplog.set_level(logging.INFO)
    model = tiny(seed=9)
    again = run(config, model, evaluate=stop_after(0))
    assert "this run is finished (epoch 3 of 3, step 4 of 4): nothing to train" in caplog.text
    assert (again.best, again.history, again.weights) == (first.best, first.history, first.weights)
    assert again.continued_at == 12
    assert (tmp_path / "out" / "latest.pdopt").read_bytes() == before
    assert_same({k: v.numpy() for k, v in model.state_dict().items()}, weights(tmp_path / "out", "best_accuracy"), 0)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Optimizer.lr.learning_rate=0.005", "Optimizer.lr.learning_rate is 0.01 there and 0.005 here"),
        ("Global.epoch_num=5", "Global.epoch_num is 3 there and 5 here"),
        ("Global.seed=7", "Global.seed is 1024 there and 7 here"),
        ("Loss.alpha=3", "Loss.alpha is None there and 3 here"),
        ("Architecture.Neck.out_channels=32", "Architecture.Neck.out_channels is 16 there and 32 here"),
        ("Train.loader.batch_size_per_card=4", "Train.loader.batch_size_per_card is 2 there and 4 here"),
    ],
)
def test_another_run_is_refused(images: Path, tmp_path: Path, override: str, message: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(TrainingError) as caught:
        run(make_config(images, out, override))
    assert message in str(caught.value)
    assert "-o Global.save_model_dir=" in str(caught.value) and "-o Global.overwrite=true" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.usefixtures("no_images")
def test_another_plan_or_origin_is_refused(images: Path, tmp_path: Path) -> None:
    config = make_config(images, tmp_path / "out")
    with pytest.raises(Stop):
        run(config, evaluate=stop_after(2), plan=plan_of(config), origin={"weights": "a" * 64})
    with pytest.raises(TrainingError, match="origin.weights is aaaaaaaaaaaa there and bbbbbbbbbbbb here"):
        run(config, plan=plan_of(config), origin={"weights": "b" * 64})
    with pytest.raises(TrainingError, match="plan is [0-9a-f]{12} there and None here"):
        run(config, origin={"weights": "a" * 64})


@pytest.mark.usefixtures("no_images")
def test_workers_and_evaluation_steps_make_no_other_run(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    options = ["Train.loader.num_workers=1", "Global.eval_batch_step=[0, 100]", "Global.print_batch_step=5"]
    result = run(make_config(images, out, *options))
    assert result.continued_at == 6


@pytest.mark.usefixtures("no_images")
def test_overwrite_starts_another_run_over(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = make_config(images, out, "Global.save_epoch_step=1")
    run(config, plan=plan_of(config))
    (out / "sen.pickle").write_bytes(b"not ours")
    options = ["Global.seed=7", "Global.overwrite=true"]
    with pytest.raises(Stop):
        run(make_config(images, out, *options), evaluate=stop_after(2))
    assert not list(out.glob("*.plan.json")) and not list(out.glob("iter_epoch_*"))
    assert (out / "sen.pickle").read_bytes() == b"not ours"
    # the same command goes on: what is done is not thrown away again
    assert run(make_config(images, out, *options)).continued_at == 6
    # finished, it starts over when told to
    assert run(make_config(images, out, *options)).continued_at is None


@pytest.mark.usefixtures("no_images")
def test_weights_that_are_not_ours_are_not_replaced(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "best_accuracy.pdparams").write_bytes(b"years of work")
    with pytest.raises(TrainingError, match=r"holds best_accuracy.pdparams, but no latest.pdopt to continue from"):
        run(make_config(images, out))
    for key in ("Global.pretrain_weights", "Global.init_backbone"):
        for name in ("best_accuracy", "best_accuracy.pdparams"):
            with pytest.raises(TrainingError, match=f"{key}: .* would be replaced by this run"):
                run(make_config(images, out, f"{key}={out}/{name}", "Global.overwrite=true"))
    assert (out / "best_accuracy.pdparams").read_bytes() == b"years of work"
    run(make_config(images, out, "Global.overwrite=true"))
    assert weights(out, "best_accuracy")


@pytest.mark.usefixtures("no_images")
def test_checkpoints_names_a_run_to_continue_elsewhere(images: Path, tmp_path: Path) -> None:
    first, second, whole = (tmp_path / name / "out" for name in ("first", "second", "whole"))
    run(make_config(images, whole))
    with pytest.raises(KeyboardInterrupt):
        run(make_config(images, first), evaluate=scores_then_stop([0.9, 0.1]))
    for suffix in ("", ".pdparams"):
        config = make_config(images, second, f"Global.checkpoints={first}/latest{suffix}", "Global.overwrite=true")
        result = run(config, evaluate=scores_from([0.3]))
        assert result.continued_at == 6
        assert result.best.step == 0 and result.best.metrics["hmean"] == 0.9
        assert_same(weights(second, "best_accuracy"), weights(first, "best_accuracy"), 0)
        assert_same(weights(second), weights(whole), 0)
    # once this folder has come further it goes on from its own
    config = make_config(images, second, f"Global.checkpoints={first}/latest")
    assert run(config).continued_at == 12
    with pytest.raises(TrainingError, match="is of another training run: Global.seed is 1024 there and 7 here"):
        run(make_config(images, tmp_path / "third", f"Global.checkpoints={first}/latest", "Global.seed=7"))
    with pytest.raises(TrainingError, match=r"nowhere.pdopt: cannot be read \(No such file"):
        run(make_config(images, tmp_path / "third", f"Global.checkpoints={tmp_path}/nowhere"))


def scores_then_stop(values: list[float]) -> Scores:
    left = list(values)

    def score() -> dict[str, float]:
        if not left:
            raise KeyboardInterrupt
        return {"precision": 0.5, "recall": 0.5, "hmean": left.pop(0)}

    return score


@pytest.mark.usefixtures("no_images")
def test_a_lost_best_is_found_anew(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    (out / "best_accuracy.pdparams").unlink()
    result = run(make_config(images, out), evaluate=scores_from([0.1, 0.2, 0.05]))
    assert (result.best.step, result.best.metrics["hmean"]) == (9, 0.2)
    assert (out / "best_accuracy.pdparams").exists()


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/ocrslim_bomb",)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("damage", ["truncated", "flipped", "code", "paddle's own"])
def test_a_damaged_state_is_refused_and_never_executed(images: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    path = out / "latest.pdopt"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        array = load_state(path).weights["conv.weight"].tobytes()
        place = content.index(array) + 3
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
    elif damage == "code":
        path.write_bytes(pickle.dumps({"schema": 1, "weights": Bomb()}))
    else:
        paddle.save(paddle.optimizer.Adam(parameters=tiny().parameters()).state_dict(), str(path))
    with pytest.raises(TrainingError) as caught:
        run(make_config(images, out))
    assert f"{path}: not the state of a training run" in str(caught.value)
    assert "Global.overwrite=true" in str(caught.value)
    assert not Path("/tmp/ocrslim_bomb").exists()
    run(make_config(images, out, "Global.overwrite=true"))


# --- when it goes wrong ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("fault", ["loss", "output", "weights"])
@pytest.mark.parametrize("main", ["DiceLoss", "BCELoss"])
def test_divergence_is_named_and_nothing_bad_is_saved(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, main: str
) -> None:
    out = tmp_path / "out"
    model = tiny()
    forward, calls = model.forward, []

    def bad(x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        if model.training:
            calls.append(1)
        if len(calls) == 6 and fault == "weights":
            model.norm._mean.set_value(np.full(6, np.inf, np.float32))
        maps = forward(x)["maps"]
        return {"maps": maps * float("nan") if len(calls) == 6 and fault == "output" else maps}

    model.forward = bad
    if fault == "loss":
        monkeypatch.setattr("ocrslim.losses.masked_l1_loss", lambda *_: paddle.to_tensor(float("inf")))
    with pytest.raises(TrainingError) as caught:
        run(make_config(images, out, f"Loss.main_loss_type={main}"), model)
    message = str(caught.value)
    assert "training diverged after epoch" in message and "\n" not in message
    assert f"{out}/latest.pdparams" in message
    assert "a lower -o Optimizer.lr.learning_rate= (now 0.01) and -o Global.overwrite=true" in message
    expected = {
        "loss": "epoch 1 of 3, step 0 of 4: the loss is inf (loss_shrink_maps",
        "output": "epoch 2 of 3, step 1 of 4: the network's output is not finite",
        "weights": "norm._mean: 6 of 6 values are NaN or infinite",
    }
    assert expected[fault] in message
    for name in ("latest", "best_accuracy"):
        assert all(np.isfinite(array).all() for array in weights(out, name).values())
    assert load_state(out / "latest.pdopt").progress.step in (0, 4)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("metrics", [{"hmean": float("nan")}, {"precision": 0.5}])
def test_a_useless_evaluation_is_refused(images: Path, tmp_path: Path, metrics: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="the evaluation gave hmean (nan|None), expected a finite number"):
        run(make_config(images, tmp_path / "out"), evaluate=lambda: metrics)


@pytest.mark.usefixtures("no_images")
def test_full_disk_keeps_what_was_written(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    before = (out / "latest.pdopt").read_bytes()
    with monkeypatch.context() as patch, pytest.raises(ArtifactError, match="the disk is full"):

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(artifacts.os, "fsync", full)
        run(make_config(images, out))
    assert (out / "latest.pdopt").read_bytes() == before
    assert run(make_config(images, out)).continued_at == 6


@pytest.mark.usefixtures("no_images")
def test_folder_that_cannot_be_written(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = make_config(images, tmp_path / "out", f"Global.save_model_dir={tmp_path}/file/out")
    with pytest.raises(ArtifactError, match="a part of the path is a file|a file stands where"):
        run(config)


@pytest.mark.usefixtures("no_images")
def test_too_few_batches_are_noticed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Batches):
        def __iter__(self) -> Iterator[list[paddle.Tensor]]:
            batches = list(super().__iter__())
            yield from batches[:-1]

    monkeypatch.setattr(trainer, "train_loader", Short)
    with pytest.raises(TrainingError, match="epoch 1 ended early, at epoch 1 of 3, step 3 of 4"):
        run(make_config(images, tmp_path / "out"))


def test_first_difference() -> None:
    assert first_difference({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}) is None
    assert first_difference({"b": [1, {"c": 2}]}, {"b": [1, {"c": 3}]}) == "b[1].c is 2 there and 3 here"
    assert first_difference({"b": [1]}, {"b": [1, 2]}) == "b is [1] there and [1, 2] here"
    assert first_difference({"old": 1}, {}) == "old is 1 there and None here"


@pytest.mark.usefixtures("no_images")
def test_lines_without_a_terminal(images: Path, tmp_path: Path, caplog, monkeypatch, capfd) -> None:
    monkeypatch.setattr("ocrslim.display.LOG_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    run(make_config(images, tmp_path / "out", "Global.print_batch_step=4"), evaluate=scores_from([0.25, 0.5]))
    lines = [r.getMessage() for r in caplog.records if " left" in r.getMessage()]
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1 of 3, step 4 of 4: loss ") and "best hmean 0.5000" in lines[0]
    assert "epoch 1 of 3, step 0 of 4: hmean 0.2500 (best 0.2500 at step 0), before training" in caplog.text
    assert "training:" not in capfd.readouterr().err
