"""The training loop: what it keeps, when it evaluates, and how it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from training import (
    IMAGES,
    Batches,
    Stop,
    assert_same,
    images,
    make_config,
    no_images,
    plan_of,
    run,
    scores_from,
    stop_after,
    tiny,
    weights,
)

from ocrslim.config.config import load_config
from ocrslim.data.eval_set import scan
from ocrslim.errors import ArtifactError, TrainingError
from ocrslim.pruning.plan import Plan
from ocrslim.training import trainer
from ocrslim.training.callbacks import TrainingStatus
from ocrslim.training.checkpointing.state_file import first_difference, load_state
from ocrslim.training.monitoring.console import Display
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.span import Span
from ocrslim.utils import files as artifacts
from ocrslim.utils.hashing import hash_arrays

__all__ = ["images", "no_images"]  # fixtures


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
    assert best["origin"] == {"weights": "abc", **IMAGES}
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


@pytest.mark.usefixtures("no_images")
def test_plan_lies_beside_every_checkpoint(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = make_config(images, out, "Global.save_epoch_step=3")
    run(config, plan=plan_of(config))
    for name in ("best_accuracy", "latest", "iter_epoch_3"):
        assert Plan.load(out / f"{name}.plan.json").hash() == plan_of(config).hash()


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
        if len(calls) >= 6 and fault == "weights":
            model.norm._mean.set_value(np.full(6, np.inf, np.float32))
        maps = forward(x)["maps"]
        return {"maps": maps * float("nan") if len(calls) >= 6 and fault == "output" else maps}

    model.forward = bad
    if fault == "loss":
        monkeypatch.setattr("ocrslim.tasks.detection.loss.masked_l1_loss", lambda *_: paddle.to_tensor(float("inf")))
    with pytest.raises(TrainingError) as caught:
        run(make_config(images, out, f"Loss.main_loss_type={main}"), model)
    message = str(caught.value)
    assert "although the learning rate was halved 3 times" in message
    assert "training diverged after epoch" in message and "\n" not in message
    assert f"{out}/latest.pdparams" in message
    assert "a lower -o Optimizer.lr.learning_rate= (now 0.01) and -o Global.overwrite=true" in message
    expected = {
        "loss": "3 times: the loss is inf (loss_shrink_maps",
        "output": "3 times: the network's output is not finite",
        "weights": "norm._mean: 6 of 6 values are NaN or infinite",
    }
    assert expected[fault] in message
    for name in ("latest", "best_accuracy"):
        assert all(np.isfinite(array).all() for array in weights(out, name).values())
    assert load_state(out / "latest.pdopt").progress.step == 0


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("metrics", [{"hmean": float("nan")}, {"precision": 0.5}])
def test_a_useless_evaluation_is_refused(images: Path, tmp_path: Path, metrics: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=r"the evaluation gave hmean (nan|None), expected a finite number"):
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
    with pytest.raises(ArtifactError, match=r"a part of the path is a file|a file stands where"):
        run(config)


@pytest.mark.usefixtures("no_images")
def test_too_few_batches_are_noticed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Batches):
        def __iter__(self) -> Iterator[list[paddle.Tensor]]:
            batches = list(super().__iter__())
            yield from batches[:-1]

    monkeypatch.setattr(trainer, "train_loader", Short)
    with pytest.raises(TrainingError, match="epoch 1 ended at epoch 1 of 3, step 3 of 4"):
        run(make_config(images, tmp_path / "out"))


def test_first_difference() -> None:
    assert first_difference({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}) is None
    assert first_difference({"b": [1, {"c": 2}]}, {"b": [1, {"c": 3}]}) == "b[1].c is 2 there and 3 here"
    assert first_difference({"b": [1]}, {"b": [1, 2]}) == "b is [1] there and [1, 2] here"
    assert first_difference({"old": 1}, {}) == "old is 1 there and None here"


@pytest.mark.usefixtures("no_images")
def test_lines_without_a_terminal(images: Path, tmp_path: Path, caplog, monkeypatch, capfd) -> None:
    monkeypatch.setattr("ocrslim.training.monitoring.console.LOG_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    run(make_config(images, tmp_path / "out", "Global.print_batch_step=4"), evaluate=scores_from([0.25, 0.5]))
    lines = [r.getMessage() for r in caplog.records if " left" in r.getMessage()]
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1 of 3, step 4 of 4: loss ") and "best hmean 0.5000" in lines[0]
    assert "epoch 1 of 3, step 0 of 4: hmean 0.2500 (best 0.2500 at step 0), before training" in caplog.text
    assert "training:" not in capfd.readouterr().err


def test_steps_that_take_long_are_told_one_by_one(monkeypatch, caplog) -> None:
    """Ten steps of a recogniser on a CPU are five minutes."""
    now = [0.0]
    monkeypatch.setattr("ocrslim.training.monitoring.console.time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level(logging.INFO)
    display, progress = Display(print_every=10), Progress(steps=12)
    status = TrainingStatus(progress, Span(12, 1), "acc")
    for seconds in (40, 40, 5, 5):  # only the second step ends a minute of silence
        now[0] += seconds
        progress.step += 1
        progress.recent.append(1.0)
        display.on_step(status)
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 1 of 1, step 2 of 12: loss 1.0000, lr 0.00e+00, 06:40 left"
    ]
