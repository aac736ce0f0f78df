"""Training that goes wrong: noticed, taken back with half the learning rate, and given up in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import paddle
import pytest
from training import Stop, assert_same, images, make_config, no_images, run, scores_from, stop_after, tiny, weights

from ocrslim.errors import TrainingError
from ocrslim.report.plots.training import TrainingPicture, draw_training
from ocrslim.training import resuming
from ocrslim.training.checkpointing.state_file import TrainingState, load_state, plain
from ocrslim.training.monitoring import curves
from ocrslim.training.monitoring.history import POINTS, RECENT, Curve, Evaluation, Progress
from ocrslim.training.optimization import rollback
from ocrslim.training.optimization.divergence import Diverged, check_gradients, check_losses, is_stable
from ocrslim.training.optimization.train_step import TrainStep
from ocrslim.training.trainer import Trainer
from ocrslim.utils.fields import Field

__all__ = ["images", "no_images"]  # fixtures

QUIET = [1.0, 1.2, 0.8, 1.1] * 10
SetFault = Callable[[Callable[[Progress], bool]], None]


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        pytest.param([*QUIET, *[3.6] * 8], True, id="far above for eight steps"),
        pytest.param([*QUIET, *[2.0] * 8], False, id="twice as high is still noise"),
        pytest.param([*QUIET, *[50.0] * 3, *[1.0] * 5], False, id="three bad batches"),
        pytest.param([*[1.0] * 10, *[9.0] * 8], False, id="too early to tell"),
        pytest.param([*[0.0] * 30, *[0.5] * 8], False, id="no text so far: nothing to compare with"),
        pytest.param(list(np.linspace(8, 1, 60)), False, id="falling"),
    ],
)
def test_when_losses_have_run_away(losses: list[float], diverged: bool) -> None:
    if diverged:
        with pytest.raises(Diverged, match=r"the loss has risen to 3\.6, 3\.\d times its running median of 1\.\d"):
            check_losses(losses)
    else:
        check_losses(losses)


def test_a_state_amid_a_rise_is_not_worth_keeping() -> None:
    assert is_stable(QUIET)
    assert not is_stable([*QUIET, *[2.0] * 8])


def test_gradients_that_are_not_finite() -> None:
    layer = paddle.nn.Linear(2, 2)
    check_gradients(layer.parameters())  # none yet
    layer(paddle.ones([1, 2])).sum().backward()
    check_gradients(layer.parameters())
    (layer.weight.sum() * float("inf")).backward()
    with pytest.raises(Diverged, match="the gradients are not finite"):
        check_gradients(layer.parameters())


def test_a_curve_has_bounded_length_and_loses_no_step() -> None:
    curve, losses = Curve(), np.random.default_rng(0).random(5 * POINTS)
    for step, loss in enumerate(losses, 1):
        curve.add(step, float(loss), 0.1)
    assert len(curve.points) < POINTS and curve.every == 8
    covered = int(curve.points[-1][0])
    assert covered + curve.count == len(losses)
    assert np.mean([point[1] for point in curve.points]) == pytest.approx(losses[:covered].mean())


def test_progress_survives_json_and_reads_that_of_older_versions() -> None:
    progress = Progress(steps=2 * RECENT)
    for step in range(RECENT + 50):
        progress.add_step(step / 7, 0.1)
    assert len(progress.recent) == RECENT and progress.recent[-1] == (RECENT + 49) / 7
    content = plain(asdict(progress))
    assert Progress.from_json(Field(content)) == progress
    for key in ("recent", "curve", "rollbacks", "loss_scale"):
        del content[key]
    assert Progress.from_json(Field(content)).step == progress.step


def test_progress_of_a_run_without_training_survives_json() -> None:
    start = Evaluation(step=0, epoch=0, metrics={"hmean": 0.5})
    progress = Progress(steps=0, evaluated=0, best=start, best_weights="a", history=[start])
    assert progress.finished and Progress.from_json(Field(plain(asdict(progress)))) == progress


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> SetFault:
    """Training diverges where it is told to; good states lie four steps apart."""

    def set_fault(when: Callable[[Progress], bool]) -> None:
        step = TrainStep.step

        def faulty(self: TrainStep, batch: list[paddle.Tensor], progress: Progress) -> float:
            loss = step(self, batch, progress)
            if when(progress):
                self.model.conv.bias.set_value(np.full(6, np.nan, np.float32))
                raise Diverged("as ordered")
            return loss

        monkeypatch.setattr(rollback, "GOOD_STEPS", 4)
        monkeypatch.setattr(TrainStep, "step", faulty)

    return set_fault


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("more", [(), ("Optimizer.ema={decay: 0.7}",)], ids=["", "averaged"])
def test_goes_back_to_the_last_good_step_with_half_the_rate(
    images: Path, tmp_path: Path, fault: SetFault, caplog: pytest.LogCaptureFixture, more: tuple[str, ...]
) -> None:
    plain, out = tmp_path / "plain" / "out", tmp_path / "out" / "out"
    run(make_config(images, plain, *more))
    fault(lambda progress: progress.step == 8 and not progress.rollbacks)
    result = run(make_config(images, out, *more))
    assert [entry.step for entry in result.history] == [0, 3, 6, 9, 12]
    expected = (
        "training diverged after epoch 2 of 3, step 4 of 4: as ordered; back to epoch 1 of 3, step 4 of 4, "
        "and on with the learning rate halved (1 of at most 3 times)"
    )
    assert expected in caplog.text
    before, after = (load_state(folder / "latest.pdopt").progress for folder in (plain, out))
    assert (before.rollbacks, after.rollbacks) == (0, 1)
    factors = [b[2] / a[2] if a[2] else 1.0 for a, b in zip(before.curve.points, after.curve.points)]
    assert factors == pytest.approx([1.0] * 4 + [0.5] * 8)
    for name in ("latest", "best_accuracy"):
        assert all(np.isfinite(array).all() for array in weights(out, name).values())


@pytest.mark.usefixtures("no_images")
def test_before_the_first_good_state_it_starts_over(images: Path, tmp_path: Path, fault: SetFault) -> None:
    """The optimizer too: nothing of the steps undone is left in it."""
    plain, out = tmp_path / "plain" / "out", tmp_path / "out" / "out"
    options = ["Optimizer={name: Adam, lr: {name: Const, learning_rate: %s}}", "Global.eval_batch_step=[0, 100]"]
    run(make_config(images, plain, options[0] % 0.005, options[1]))
    fault(lambda progress: progress.step == 3 and not progress.rollbacks)
    run(make_config(images, out, options[0] % 0.01, options[1]))
    assert_same(weights(out), weights(plain), 1e-7)


@pytest.mark.usefixtures("no_images")
def test_the_best_weights_so_far_remain(images: Path, tmp_path: Path, fault: SetFault) -> None:
    fault(lambda progress: progress.step == 8 and not progress.rollbacks)
    result = run(make_config(images, tmp_path / "out"), evaluate=scores_from([0.2, 0.3, 0.9, 0.4, 0.5, 0.1]))
    assert (result.best.step, result.best.metrics["hmean"]) == (6, 0.9)  # undone at 8, but it was measured
    assert [entry.metrics["hmean"] for entry in result.history] == [0.2, 0.3, 0.4, 0.5, 0.1]


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("stops", [1, 2, 3])
def test_stopped_and_resumed_goes_back_to_the_same_step(
    images: Path, tmp_path: Path, fault: SetFault, stops: int
) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    fault(lambda progress: progress.step == 7 and not progress.rollbacks)
    run(make_config(images, whole))
    with pytest.raises(Stop):
        run(make_config(images, parts), evaluate=stop_after(stops))
    run(make_config(images, parts))
    assert_same(weights(parts), weights(whole), 0)
    there, here = (load_state(folder / "latest.pdopt").progress for folder in (whole, parts))
    assert there.curve == here.curve and there.recent == here.recent
    assert [entry.step for entry in there.history] == [entry.step for entry in here.history]


@pytest.mark.usefixtures("no_images")
def test_the_saved_good_state_matters(
    images: Path, tmp_path: Path, fault: SetFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without it a resumed run goes back to where it was resumed, and ends elsewhere."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    fault(lambda progress: progress.step == 7 and not progress.rollbacks)
    run(make_config(images, whole))
    with pytest.raises(Stop):
        run(make_config(images, parts), evaluate=stop_after(2))
    resume = resuming.resume

    def forgetful(trainer: Trainer, state: TrainingState) -> object:
        found = resume(trainer, state)
        trainer.rollback.good = None
        return found

    monkeypatch.setattr(resuming, "resume", forgetful)
    run(make_config(images, parts))
    with pytest.raises(AssertionError):
        assert_same(weights(parts), weights(whole))


@pytest.mark.usefixtures("no_images")
def test_gives_up_after_three_times_and_keeps_the_last_good_state(
    images: Path, tmp_path: Path, fault: SetFault
) -> None:
    out, config = tmp_path / "out", make_config(images, tmp_path / "out")
    steps = []
    fault(lambda progress: progress.step >= 7 and not steps.append(progress.rollbacks))
    with pytest.raises(TrainingError) as caught:
        run(config)
    assert steps == [0, 1, 2, 3]
    message = str(caught.value)
    assert "epoch 2 of 3, step 3 of 4, although the learning rate was halved 3 times: as ordered" in message
    assert "-o Optimizer.lr.learning_rate= (now 0.01)" in message and "clip_norm_global" in message
    state = load_state(out / "latest.pdopt")
    assert (state.progress.step, state.progress.rollbacks) == (4, 3)
    assert_same(weights(out), state.weights, 0)
    with pytest.raises(TrainingError, match="halved 3 times"):  # the same command says the same, at once
        run(config)
    assert steps[4:] == [3]


@pytest.mark.usefixtures("no_images")
def test_weights_that_explode_are_noticed_by_their_loss(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite, but far off."""
    monkeypatch.setattr(rollback, "GOOD_STEPS", 10)
    step = TrainStep.step

    def jolted(self: TrainStep, batch: list[paddle.Tensor], progress: Progress) -> float:
        if progress.step == 40 and not progress.rollbacks:
            self.model.maps.bias.set_value(np.full(3, 30.0, np.float32))
        return step(self, batch, progress)

    monkeypatch.setattr(TrainStep, "step", jolted)
    options = ["Global.epoch_num=20", "Loss.main_loss_type=BCELoss", "Global.eval_batch_step=[0, 100]"]
    run(make_config(images, tmp_path / "out", *options))
    assert "the loss has risen to" in caplog.text and "back to epoch 10 of 20, step 4 of 4" in caplog.text
    assert load_state(tmp_path / "out" / "latest.pdopt").progress.rollbacks == 1


@pytest.mark.usefixtures("no_images")
def test_mixed_precision_is_not_used_on_the_cpu(images: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    plain, mixed = tmp_path / "plain" / "out", tmp_path / "mixed" / "out"
    run(make_config(images, plain))
    assert "use_amp" not in caplog.text
    run(make_config(images, mixed, "Global.use_amp=true"), tiny())
    assert "Global.use_amp: not used on the CPU" in caplog.text
    assert_same(weights(mixed), weights(plain), 0)


@pytest.mark.usefixtures("no_images")
@pytest.mark.slow
def test_the_curves_lie_beside_the_checkpoints(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, drawn = tmp_path / "out", []

    def watched(picture: TrainingPicture, path: Path) -> None:
        drawn.append(len(picture.curve))  # a point for each step
        draw_training(picture, path)

    monkeypatch.setattr(curves, "draw_training", watched)
    run(make_config(images, out))
    assert drawn == [12]  # at the end, and in between only where half a minute has gone by
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(curves, "DRAW_SECONDS", 0.0)
    run(make_config(images, out, "Global.overwrite=true"))
    assert drawn == [12, 0, 3, 6, 9, 12, 12]
    monkeypatch.setattr("ocrslim.training.checkpointing.checkpoints.SAVE_SECONDS", 0.0)
    del drawn[:]
    run(make_config(images, out, "Global.overwrite=true"))
    assert set(drawn) == set(range(13)), "also between evaluations, which can be hours apart"
