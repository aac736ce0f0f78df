"""Stopped at any moment and resumed: nothing is lost, nothing ends otherwise."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paddle
import pytest
from paddle import nn
from training import (
    Stop,
    assert_same,
    images,
    make_config,
    make_job,
    no_images,
    plan_of,
    run,
    stop_after,
    tiny,
    weights,
)
from waiting import PATIENCE, wait_until

from ocrslim.config.config import Config
from ocrslim.data.eval_set import scan
from ocrslim.models.factory import build_model
from ocrslim.pruning.plan import Plan
from ocrslim.training.callbacks import Callback
from ocrslim.training.checkpointing import checkpoints
from ocrslim.training.checkpointing.run_folder import RunFolder
from ocrslim.training.checkpointing.state_file import load_state
from ocrslim.training.fitting import fit
from ocrslim.utils.interrupts import Interrupts, current_interrupts

__all__ = ["images", "no_images"]  # fixtures


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
    fresh = {k: v.numpy() for k, v in network().state_dict().items()}
    moved = [k for k, v in weights(whole).items() if (v != fresh[k]).any()]
    assert len(moved) > 50  # it is training that agrees, not standing still


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Momentum"])
def test_every_optimizer_resumes_exactly(images: Path, tmp_path: Path, optimizer: str) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    options = ["Optimizer={name: " + optimizer + ", lr: {name: Const, learning_rate: 0.01}}"]
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
    monkeypatch.setattr("ocrslim.training.checkpointing.snapshot._restore_optimizer", lambda *_: None)
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
@pytest.mark.parametrize(
    "more", [(), pytest.param(("Optimizer.ema={decay: 0.7}",), marks=pytest.mark.slow)], ids=["", "averaged"]
)
def test_a_death_at_any_write_loses_nothing(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    more: tuple[str, ...],
) -> None:
    def settings(name: str) -> tuple[Config, Plan]:
        config = make_config(images, tmp_path / name / "out", "Global.epoch_num=2", "Global.save_epoch_step=2", *more)
        return config, plan_of(config)

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
            caplog.clear()
            result = run(config, plan=plan)
            assert result.best == expected.best, (at, after)
            assert "best weights" not in caplog.text  # no false alarm
            for name in ("best_accuracy", "latest", "iter_epoch_2"):
                assert_same(weights(out, name), weights(tmp_path / "whole" / "out", name), 0)
            assert result.history == expected.history
            assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import training as t
from pathlib import Path
from ocrslim.training.checkpointing import checkpoints
t.trainer.train_loader = t.Batches
checkpoints.SAVE_SECONDS = 0.0
config = t.make_config(Path({images!r}), Path({out!r}), 'Global.epoch_num=500', 'Global.eval_batch_step=[0, 7]')
model = t.tiny()
if {slow}:
    forward = model.forward
    model.forward = lambda x: (time.sleep(0.02), forward(x))[1]
try:
    t.run(config, model, {stop} and t.stop_after({stop}))
except KeyboardInterrupt:
    sys.exit(130)
"""


def script(images: Path, out: Path, *, slow: bool = True, stop: int = 0) -> list[str]:
    """A run of 2000 steps, of 0.02 s at least where it is `slow`; it dies at the evaluation after the `stop`-th."""
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]), images=str(images), out=str(out), slow=slow, stop=stop)
    return [sys.executable, "-c", code]


@contextlib.contextmanager
def in_subprocess(images: Path, out: Path, slow: bool = True) -> Iterator[subprocess.Popen]:
    """A run of 2000 steps in a process of its own, once it has done some."""
    process = subprocess.Popen(script(images, out, slow=slow), stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _steps_of(out) >= 5, while_=lambda: process.poll() is None)
        yield process
    finally:
        process.kill()
        process.wait()


def _steps_of(out: Path) -> int:
    """Steps that a run has saved."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads((out / "latest.json").read_text())["global_step"]
    return 0


@pytest.mark.slow
def test_kill_9_in_another_process(images: Path, tmp_path: Path) -> None:
    """All processes are alike: this one may have another number of threads by now, and then other last bits."""
    parts, whole = tmp_path / "killed" / "out", tmp_path / "whole" / "out"
    with in_subprocess(images, parts) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 5 <= load_state(parts / "latest.pdopt").progress.step < 2000
    assert b"Stop" in subprocess.run(script(images, parts, slow=False, stop=3), stderr=subprocess.PIPE).stderr
    again = load_state(parts / "latest.pdopt")
    stop = again.progress.step // 7
    assert b"Stop" in subprocess.run(script(images, whole, slow=False, stop=stop), stderr=subprocess.PIPE).stderr
    reference = load_state(whole / "latest.pdopt")
    assert reference.progress.step == again.progress.step
    assert_same(again.weights, reference.weights, 0)
    assert_same(again.optimizer, reference.optimizer, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_stop(images: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    with in_subprocess(images, out) as process:
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE) == 130
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
    monkeypatch.setattr(checkpoints, "SAVE_SECONDS", 0.0)
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


def test_workers_do_not_pile_up(images: Path, tmp_path: Path) -> None:
    """Paddle keeps the workers of a loader that is not read to its end."""
    counts = []

    def count() -> dict[str, float]:
        counts.append(len(multiprocessing.active_children()))
        return {"hmean": 0.5}

    config = make_config(images, tmp_path / "out", "Train.loader.num_workers=2", "Global.eval_batch_step=[0, 2]")
    before = len(multiprocessing.active_children())
    run(config, evaluate=count, labelled=scan(config, "Train"))
    assert max(counts) <= before + 2
    assert len(multiprocessing.active_children()) == before


@pytest.mark.usefixtures("no_images")
def test_in_somebody_elses_program_ctrl_c_is_pythons_own(images: Path, tmp_path: Path) -> None:
    """No handler is installed; a step that it breaks off is not saved, and the run goes on from the state before."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    model, seen = tiny(), []
    forward = model.forward

    def interrupted(x: paddle.Tensor) -> dict[str, paddle.Tensor]:
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])
        if len(seen) == 6:
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it waited")
        return forward(x)

    model.forward = interrupted
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        fit(make_job(make_config(images, parts), model))
    assert seen == [before] * 6
    assert load_state(parts / "latest.pdopt").progress.step == 4  # the end of the epoch
    assert fit(make_job(make_config(images, parts))).continued_at == 4
    run(make_config(images, whole))
    assert_same(weights(parts), weights(whole), 0)


class InterruptedWhere(Callback):
    """Ctrl-C, unless signals are deferred, in the `count`-th call of one kind."""

    def __init__(self, event: str, count: int):
        self._left = count
        setattr(self, event, self._called)

    def _called(self, *_: object) -> None:
        self._left -= 1
        if not self._left:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("handlers", [True, False])
@pytest.mark.parametrize(
    ("event", "count", "step"),
    [("on_step", 5, 5), ("on_evaluation", 2, 3), ("on_save", 4, 3), ("on_interval", 2, 3), ("on_start", 1, 0)],
)
def test_ctrl_c_between_steps_loses_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handlers: bool, event: str, count: int, step: int
) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    callback = InterruptedWhere(event, count)
    with pytest.raises(KeyboardInterrupt), Interrupts() if handlers else contextlib.nullcontext():
        fit(make_job(make_config(images, parts)), callback)
    assert load_state(parts / "latest.pdopt").progress.step == step
    result, expected = run(make_config(images, parts)), run(make_config(images, whole))
    assert result.history == expected.history
    for name in ("latest", "best_accuracy"):
        assert_same(weights(parts, name), weights(whole, name), 0)


@pytest.mark.usefixtures("no_images")
def test_an_evaluation_broken_off_while_it_is_recorded_is_repeated(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry in the history must not be saved without what belongs to it."""
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    calls = []

    def broken_off(*given) -> None:
        calls.append(1)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        save_best(*given)

    save_best = RunFolder.save_best
    monkeypatch.setattr(RunFolder, "save_best", broken_off)
    with pytest.raises(KeyboardInterrupt):
        fit(make_job(make_config(images, parts)))
    assert load_state(parts / "latest.pdopt").progress.history == []
    assert run(make_config(images, parts)).history == run(make_config(images, whole)).history


def test_a_second_signal_does_not_wait() -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        reached = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        pytest.fail("it waited")
    assert reached
    assert not interrupts.pending  # it is answered: what is left to do is not interrupted once more


def test_the_handlers_in_force_are_those_installed_last() -> None:
    assert current_interrupts() is not current_interrupts()
    with Interrupts() as outer:
        with Interrupts() as inner:
            assert current_interrupts() is inner
        assert current_interrupts() is outer
    with current_interrupts().held() as nothing:
        assert nothing is None


def test_an_error_within_a_held_block_is_not_masked() -> None:
    with Interrupts() as interrupts, pytest.raises(ValueError), interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError


def test_a_job_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
