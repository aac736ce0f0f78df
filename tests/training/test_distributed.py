"""Several processes train one network: started by Paddle's launcher, as users do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import waiting
from training import EPOCHS, STEPS, Batches, assert_same, images, make_config, run, tiny, weights

from ocrslim.data.batching import _batches
from ocrslim.models import read_weights, state_arrays
from ocrslim.tasks.detection.loss import build_loss
from ocrslim.training.checkpointing.state_file import load_state, save_state
from ocrslim.training.monitoring.history import Evaluation, Progress
from ocrslim.utils.interrupts import Interrupts

__all__ = ["images"]  # fixture

LAUNCH = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log"]
PLAIN = [
    "Optimizer={name: Momentum, momentum: 0.0, lr: {name: Const, learning_rate: 0.01}, clip_norm_global: 0.1}",
    "Optimizer.regularizer.factor=0",
]

# Several short runs by one pair of processes: starting them takes longer than they do.
RUNS = """
import json, sys
sys.path.insert(0, {tests!r})
from ocrslim.utils.paddle_setup import import_paddle
import_paddle()
import numpy as np
import training as t
from pathlib import Path
from ocrslim.training.optimization import divergence, rollback
from ocrslim.training.optimization import train_step as stepper
from ocrslim.utils.hashing import hash_arrays
from ocrslim.utils.distributed import join_launch
from ocrslim.models import state_arrays

folder = Path({folder!r})
t.trainer.train_loader = t.Batches
rollback.GOOD_STEPS = 4
step, log, fault_at = stepper.TrainStep.step, [], [None]

def watched(self, batch, progress):
    loss = step(self, batch, progress)
    arrays = state_arrays(self.model)
    log.append([progress.step, loss, hash_arrays(arrays)])
    if progress.step == 1:
        np.savez(folder / f"{{name}}.first.{{ranks.index}}.npz", **arrays)
    return loss

def poisoned(parts):
    if fault_at[0] == len(log) and ranks.index == 1:
        fault_at[0] = None
        parts = {{**parts, "loss": parts["loss"] * float("nan")}}
    return divergence.check_loss(parts)

stepper.TrainStep.step, stepper.check_loss = watched, poisoned
with join_launch() as ranks:
    for name, fault, options in {runs!r}:
        log, fault_at[0] = [], fault
        model = t.tiny(seed=ranks.index)  # all ranks train what rank 0 has
        own = folder / f"rank{{ranks.index}}" / name
        config = t.make_config(folder, own, f"Global.save_model_dir={{folder / name / 'out'}}", *options)
        result = t.run(config, model, ranks=ranks)
        said = {{"log": log, "end": hash_arrays(state_arrays(model)), "best": result.best.step}}
        (folder / f"{{name}}.{{ranks.index}}.json").write_text(json.dumps(said))
    print("rank 0 speaks")
"""
RUNS_OF = [
    ("adam", None, ["Optimizer.ema={decay: 0.7}"]),
    ("plain", None, PLAIN),
    ("fault", 6, []),
]


STARTED: list[subprocess.Popen] = []


def start(folder: Path, *words: str) -> subprocess.Popen:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PADDLE_")}
    launcher = subprocess.Popen(
        [*LAUNCH, *words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    STARTED.append(launcher)
    return launcher


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    yield
    for launcher in STARTED:
        if launcher.poll() is None:
            launcher.terminate()  # it ends its ranks
            launcher.wait(60)


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "log").glob("workerlog.*")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs above, finished by two processes."""
    folder = tmp_path_factory.mktemp("runs")
    tests = str(Path(__file__).parents[1])
    (folder / "runs.py").write_text(RUNS.format(tests=tests, folder=str(folder), runs=RUNS_OF))
    launcher = start(folder, "runs.py")
    said, _ = launcher.communicate(timeout=waiting.PATIENCE)
    assert launcher.returncode == 0, said + logs(folder)
    return folder


def told(folder: Path, name: str) -> list[dict]:
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", [name for name, *_ in RUNS_OF])
def test_all_ranks_hold_the_same_after_every_step(runs: Path, name: str) -> None:
    """Bit by bit: parameters, batch-norm statistics and the loss that is shown."""
    first, second = told(runs, name)
    assert first == second
    assert len({digest for *_, digest in first["log"]}) == len(first["log"]) >= EPOCHS * STEPS
    best = read_weights(runs / name / "out" / "best_accuracy.pdparams")
    assert first["best"] == json.loads((runs / name / "out" / "best_accuracy.json").read_text())["step"]
    last = dict(np.load(runs / f"{name}.first.0.npz"))
    assert best.keys() == last.keys()


def test_a_step_takes_the_mean_of_the_gradients_and_then_clips(runs: Path) -> None:
    """Against one process that runs the batch of each rank by itself."""
    loss = build_loss(make_config(runs, runs / "plain" / "out").section("Loss"))
    gradients, statistics = [], []
    for rank in range(2):
        model, batch = tiny(seed=0), next(iter(Batches(None, None, 0, part=(rank, 2))))
        loss(model(batch[0]), batch)["loss"].backward()
        moving = {key: value for key, value in model.named_parameters() if not value.stop_gradient}
        gradients.append({key: value.grad.numpy() for key, value in moving.items()})
        statistics.append({key: value for key, value in state_arrays(model).items() if key not in moving})
    mean = {key: (gradients[0][key] + gradients[1][key]) / 2 for key in gradients[0]}
    size = np.sqrt(sum((gradient**2).sum() for gradient in mean.values()))
    assert size > 0.1  # so that clipping matters
    before = state_arrays(tiny(seed=0))
    expected = {key: before[key] - 0.01 * gradient * 0.1 / size for key, gradient in mean.items()}
    expected.update({key: (statistics[0][key] + statistics[1][key]) / 2 for key in statistics[0]})
    for rank in range(2):
        found = dict(np.load(runs / f"plain.first.{rank}.npz"))
        assert_same(found, expected, 2e-7)
    moved = max(np.abs(expected[key] - before[key]).max() for key in mean)
    apart = max(np.abs(statistics[0][key] - statistics[1][key]).max() for key in statistics[0])
    assert moved > 1e-4 and apart > 1e-4  # it was a step, and each rank had a batch of its own


def test_a_loss_that_is_not_finite_on_one_rank_rolls_all_back(runs: Path) -> None:
    steps = [step for step, *_ in told(runs, "fault")[0]["log"]]
    assert steps == [1, 2, 3, 4, 5, 6, *range(5, 13)]  # both: told alike above
    assert load_state(runs / "fault" / "out" / "latest.pdopt").progress.rollbacks == 1
    assert "training diverged after epoch 2 of 3, step 2 of 4: rank 1: the loss is nan" in logs(runs)


def test_one_rank_writes_and_speaks(runs: Path) -> None:
    found = {path.name for path in (runs / "adam" / "out").iterdir()}
    assert found == {
        "best_accuracy.json", "best_accuracy.pdparams", "config.yml",
        "latest.json", "latest.pdopt", "latest.pdparams", "training.png",
    }  # fmt: skip
    assert_same(weights(runs / "adam" / "out"), load_state(runs / "adam" / "out" / "latest.pdopt").weights, 0)
    assert logs(runs).count("rank 0 speaks") == logs(runs).count("training diverged") == 1
    other = (runs / "log" / "workerlog.1").read_text()
    assert "rank 0 speaks" not in other and "diverged" not in other


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("count", [24, 25, 26, 29])
def test_an_epoch_is_shared_out(count: int, drop: bool) -> None:
    loader = {"batch_size_per_card": 3, "drop_last": drop}
    together = _batches(range(count), {**loader, "batch_size_per_card": 6}, 5, 2, (0, 1))
    parts = [_batches(range(count), loader, 5, 2, (rank, 2)) for rank in range(2)]
    assert [len(batch) for batch in parts[0]] == [len(batch) for batch in parts[1]]
    read = [first + second for first, second in zip(*parts)]
    assert len(read) == len(together) or drop
    for found, expected in zip(read[:4], together):
        assert found == expected
    everything = [index for batch in read for index in batch]
    assert drop or set(everything) == set(range(count))
    assert len(everything) - len(set(everything)) <= 1


@pytest.mark.parametrize(
    ("step", "evaluated", "expected"),
    [
        pytest.param(0, -1, (0, -1), id="not begun"),
        pytest.param(0, 0, (0, 0), id="evaluated before the first step"),
        pytest.param(8, 6, (4, 3), id="the end of an epoch stays one"),
        pytest.param(8, 8, (4, 4), id="and is not evaluated again"),
        pytest.param(7, 6, (3, 2), id="within one it is rounded down; what is not evaluated will be"),
        pytest.param(7, -1, (3, -1), id="the best is to be found anew"),
        pytest.param(16, 16, (8, 8), id="finished"),
    ],
)
def test_a_place_is_rescaled(step: int, evaluated: int, expected: tuple[int, int]) -> None:
    """An epoch of four steps by one process, of two by two."""
    entry = Evaluation(6, 2, {"hmean": 0.5}, 1.0)
    progress = Progress(steps=16, step=step, evaluated=evaluated, best=entry, history=[entry])
    found = progress.rescaled(4, 2)
    assert (found.step, found.evaluated, found.steps) == (*expected, 8)
    assert found.best == found.history[0] == replace(entry, step=3)
    assert found.finished == progress.finished
    assert found.rescaled(2, 2) == found


def test_another_number_of_processes_goes_on(images: Path, tmp_path: Path, runs: Path, monkeypatch, caplog) -> None:
    """The run that two processes finished, with half its steps left to one: twice as many of them."""
    out = tmp_path / "adam" / "out"
    shutil.copytree(runs / "adam" / "out", out)
    monkeypatch.setattr("ocrslim.training.trainer.train_loader", TwiceAsMany)
    finished = load_state(out / "latest.pdopt")
    half = replace(finished.progress, step=6, evaluated=6, history=finished.progress.history[:3])
    save_state(out, replace(finished, progress=half, good=None), None, finished.fingerprint)
    result = run(make_config(runs, out, *RUNS_OF[0][2]))
    assert "processes that train: 2 until now, 1 from here on" in caplog.text
    assert "an epoch has 8 steps, not 4; learning rates are not scaled" in caplog.text
    assert result.continued_at == 12 and result.last.step == 24
    assert [entry.step for entry in result.history[:4]] == [0, 6, 12, 15]
    state = load_state(out / "latest.pdopt")
    assert state.progress.finished and "processes" not in state.fingerprint
    caplog.clear()
    run(make_config(runs, out, *RUNS_OF[0][2]))  # it is the run of one process now
    assert "processes" not in caplog.text


class TwiceAsMany(Batches):
    """What two processes read, one after the other."""

    def __init__(self, config, labelled, epoch, skip_batches=0, part=(0, 1)):
        self._places = [(epoch, index) for index in range(skip_batches, 2 * STEPS)]


def test_under_the_launcher_signals_after_the_first_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends three, a fifth of a second apart; the second must not break a step in two."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts, interrupts.held():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.pending
            reached = True
        assert reached
        os.kill(os.getpid(), signal.SIGTERM)  # nor what is left to do afterwards
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_signal_that_was_put_off_is_answered_where_it_may_be() -> None:
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        with interrupts.released():  # such as for an evaluation that takes minutes
            pytest.fail("it began")


PROGRAM = "import sys\nfrom ocrslim.cli import main\nsys.exit(main())\n"
EVAL = [{"DecodeImage": {"img_mode": "BGR", "channel_first": False}}, {"DetLabelEncode": None},
        {"DetResizeForTest": {"image_shape": [64, 64]}},
        {"NormalizeImage": {"scale": "1./255.", "mean": [0.5] * 3, "std": [0.5] * 3, "order": "hwc"}},
        {"ToCHWImage": None}, {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}}]  # fmt: skip


def train(images: Path, folder: Path) -> subprocess.Popen:
    """`ocrslim train`, launched: eight images, four steps of two an epoch."""
    make_config(images, folder / "out")
    (folder / "stage.py").write_text(PROGRAM)
    labels = json.dumps([str(images / "labels.txt")])
    data = f"{{name: SimpleDataSet, data_dir: {images}, label_file_list: {labels}, transforms: {json.dumps(EVAL)}}}"
    options = ["Global.save_model_dir=out", "Global.epoch_num=4", "Global.eval_batch_step=[0,5]"]
    options += ["Train.loader.batch_size_per_card=1", "Train.loader.num_workers=1", f"Eval.dataset={data}"]
    options += ["PostProcess={name: DBPostProcess, thresh: 0.3, box_thresh: 0.6, max_candidates: 9, unclip_ratio: 1.5}"]
    return start(folder, "stage.py", "train", "--json", "-c", "config.yml", "-o", *options)


def wait_for(folder: Path, step: int, launcher: subprocess.Popen) -> None:
    path = folder / "out" / "latest.json"
    wait_until(lambda: path.exists() and json.loads(path.read_text())["global_step"] >= step, folder, launcher)


def wait_until_said(folder: Path, words: str, launcher: subprocess.Popen) -> None:
    wait_until(lambda: words in logs(folder), folder, launcher)


def wait_until(holds: Callable[[], bool], folder: Path, launcher: subprocess.Popen) -> None:
    if not waiting.wait_until(holds, while_=lambda: launcher.poll() is None):
        pytest.fail(f"waited in vain: {logs(folder)}")


@contextlib.contextmanager
def asleep(process: subprocess.Popen) -> Iterator[None]:
    """The process does nothing meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def rank_process(launcher: subprocess.Popen, rank: int) -> int:
    """Process id of a rank."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid and f"PADDLE_TRAINER_ID={rank}".encode() in (path / "environ").read_bytes():
                return int(path.name)
        except (OSError, ValueError):
            continue
    raise AssertionError(f"no rank {rank}")


@pytest.mark.slow
def test_killed_then_stopped_then_resumed_ends_with_the_same_bits(images: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    undisturbed = train(images, whole)
    said, _ = undisturbed.communicate(timeout=waiting.PATIENCE)
    assert undisturbed.returncode == 0, said + logs(whole)
    assert logs(whole).count('"checkpoint"') == 1  # one rank says what came out

    killed = train(images, parts)
    wait_for(parts, 5, killed)
    with asleep(killed):  # or it may end rank 0 before that has noticed
        os.kill(rank_process(killed, 1), signal.SIGKILL)
        wait_until_said(parts, "rank 1 of this training has ended", killed)
    killed.communicate(timeout=waiting.PATIENCE)
    assert killed.returncode != 0
    assert load_state(parts / "out" / "latest.pdopt").progress.step >= 5

    stopped = train(images, parts)
    wait_for(parts, 10, stopped)
    stopped.terminate()
    said, _ = stopped.communicate(timeout=waiting.PATIENCE)
    assert stopped.returncode != 0 and "interrupted: the same command continues" in logs(parts) + said
    assert 10 <= load_state(parts / "out" / "latest.pdopt").progress.step < 16

    resumed = train(images, parts)
    said, _ = resumed.communicate(timeout=waiting.PATIENCE)
    assert resumed.returncode == 0, said + logs(parts)
    there, here = (load_state(folder / "out" / "latest.pdopt") for folder in (whole, parts))
    assert here.progress.finished and here.progress.history == there.progress.history
    assert here.progress.curve == there.progress.curve
    for one, other in ((here.weights, there.weights), (here.optimizer, there.optimizer)):
        assert_same(one, other, 0)
    assert not [path.name for path in (parts / "out").iterdir() if path.name.startswith(".")]
