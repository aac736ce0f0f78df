"""`Global.use_visualdl`: the numbers of a run, read back with VisualDL's own reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from training import Stop, images, make_config, no_images, run, scores_from, stop_after
from visualdl import LogReader

from ocrslim.commands import run_prune, run_train
from ocrslim.config.config import Config
from ocrslim.errors import ArtifactError, ConfigError
from ocrslim.tasks.detection.loss import LOSS_PARTS
from ocrslim.training.callbacks import Callback, TrainingStatus
from ocrslim.training.fitting import FitResult
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.monitoring.visualdl import EventLog, wants_event_log
from ocrslim.training.optimization.train_step import TrainStep

__all__ = ["images", "no_images"]  # fixtures

VDL = "Global.use_visualdl=true"
SCORES = [0.2, 0.3, 0.9, 0.4, 0.5]
Stage = Callable[[Config], object]
Curves = dict[str, list[tuple[int, float]]]


def curves(out: Path) -> Curves:
    """Tag -> steps and values, in the order of the file; of the one file that VisualDL shows."""
    (path,) = (out / "vdl").iterdir()
    reader = LogReader(file_path=str(path))
    tags = [tag.replace("%", "/") for tag in reader.get_tags()["scalar"]]
    return {tag: [(entry.id, entry.value) for entry in reader.get_data("scalar", tag)] for tag in tags}


def only_numbers(found: Curves) -> Curves:
    """The curves to compare with others: rounded as single precision is."""
    return {tag: [(step, pytest.approx(value, rel=1e-6)) for step, value in points] for tag, points in found.items()}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The losses and the rate of every step that is done."""
    seen = []
    step = TrainStep.step

    def watching(self: TrainStep, *arguments: object) -> float:
        loss = step(self, *arguments)
        seen.append({**self.losses, "lr": self.rate})
        return loss

    monkeypatch.setattr(TrainStep, "step", watching)
    return seen


@pytest.mark.usefixtures("no_images")
def test_every_step_and_every_score(images: Path, tmp_path: Path, watched: list[dict[str, float]]) -> None:
    out = tmp_path / "out"
    run(make_config(images, out, VDL), evaluate=scores_from(SCORES))
    found = curves(out)
    assert set(found) == {
        *(f"TRAIN/{name}" for name in ("loss", *LOSS_PARTS, "lr")),
        *(f"EVAL/{name}" for name in ("precision", "recall", "hmean", "best_hmean")),
    }
    for name in ("loss", *LOSS_PARTS, "lr"):
        assert found[f"TRAIN/{name}"] == [(at, pytest.approx(one[name])) for at, one in enumerate(watched, 1)]
    assert len(watched) == 12
    assert [value for _, value in found["TRAIN/loss"]] == pytest.approx(
        [sum(found[f"TRAIN/{part}"][at][1] for part in LOSS_PARTS) for at in range(12)]
    )
    assert found["EVAL/hmean"] == list(zip((0, 3, 6, 9, 12), map(pytest.approx, SCORES)))
    best = [0.2, 0.3, 0.9, 0.9, 0.9]
    assert found["EVAL/best_hmean"] == list(zip((0, 3, 6, 9, 12), map(pytest.approx, best)))


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("stops", [1, 2, 3])
def test_a_resumed_run_continues_its_curves(images: Path, tmp_path: Path, stops: int) -> None:
    whole, parts = tmp_path / "whole" / "out", tmp_path / "parts" / "out"
    run(make_config(images, whole, VDL))
    with pytest.raises(Stop):
        run(make_config(images, parts, VDL), evaluate=stop_after(stops))
    with pytest.raises(Stop):  # stopped again at once, nothing done
        run(make_config(images, parts, VDL), evaluate=stop_after(0))
    run(make_config(images, parts, VDL))
    found, expected = curves(parts), curves(whole)
    assert found["TRAIN/loss"] == only_numbers(expected)["TRAIN/loss"]
    assert {tag: [step for step, _ in points] for tag, points in found.items()} == {
        tag: [step for step, _ in points] for tag, points in expected.items()
    }


@pytest.mark.usefixtures("no_images")
def test_without_cutting_steps_would_be_there_twice(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a run that was killed has written steps that it does again."""
    losses = {}
    for name in ("cut", "not"):
        out = tmp_path / name / "out"
        with pytest.raises(Stop):
            run(make_config(images, out, VDL), callback=DiesAt(5))
        assert [step for step, _ in curves(out)["TRAIN/loss"]] == [1, 2, 3, 4, 5]
        if name == "not":
            monkeypatch.setattr("ocrslim.training.monitoring.visualdl._cut", lambda *_: None)
        run(make_config(images, out, VDL))
        losses[name] = [step for step, _ in curves(out)["TRAIN/loss"]]
    assert losses["cut"] == list(range(1, 13))
    assert losses["not"] == [1, 2, 3, 4, 5, 5, *range(6, 13)]


class DiesAt(Callback):
    """A death right after a step, as kill -9."""

    def __init__(self, step: int):
        self._step = step

    def on_step(self, status: TrainingStatus) -> None:
        if status.progress.step == self._step:
            raise Stop


@pytest.mark.usefixtures("no_images")
def test_going_back_takes_the_steps_out(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: list[dict[str, float]]
) -> None:
    out = tmp_path / "out"
    step = TrainStep.step

    def faulty(self: TrainStep, batch: list, progress: Progress) -> float:
        loss = step(self, batch, progress)
        if progress.step == 8 and not progress.rollbacks:
            progress.recent = [1.0] * 30 + [9.0] * 8
        return loss

    monkeypatch.setattr(TrainStep, "step", faulty)
    run(make_config(images, out, VDL))
    found = curves(out)
    assert [step for step, _ in found["TRAIN/lr"]] == list(range(1, 13))
    assert [rate for _, rate in found["TRAIN/lr"]] == [pytest.approx(one["lr"]) for one in watched[8:]]
    assert [step for step, _ in found["EVAL/hmean"]] == [0, 3, 6, 9, 12]


def write(out: Path, first: int, last: int) -> None:
    log = EventLog(out, "hmean")
    log.open(Progress(steps=9, step=first - 1))
    for step in range(first, last + 1):
        log.step(step, {"loss": float(step)}, 0.1)
    log.close()


@pytest.mark.parametrize("left", [3, 8, 20, -1])
def test_what_a_kill_leaves_of_a_record_is_cut_off(tmp_path: Path, left: int) -> None:
    write(tmp_path, 1, 4)
    (path,) = (tmp_path / "vdl").iterdir()
    size = path.stat().st_size
    write(tmp_path, 5, 5)
    path.write_bytes(path.read_bytes()[: size + left if left > 0 else left])
    write(tmp_path, 5, 6)
    assert curves(tmp_path)["TRAIN/loss"] == [(step, float(step)) for step in range(1, 7)]


@pytest.mark.usefixtures("no_images")
def test_another_run_in_the_folder_starts_its_own_curves(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(make_config(images, out, VDL))
    run(make_config(images, out, VDL, "Global.overwrite=true", "Global.epoch_num=1"))
    assert [step for step, _ in curves(out)["TRAIN/loss"]] == [1, 2, 3, 4]
    run(make_config(images, out, "Global.overwrite=true"))
    assert not list((out / "vdl").iterdir())  # and one without leaves none of another's


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("said", ["", "Global.use_visualdl=false"])
def test_nothing_is_written_unless_asked_for(images: Path, tmp_path: Path, said: str) -> None:
    result: FitResult = run(make_config(images, tmp_path / "out", *filter(None, [said])))
    assert result.last.step == 12
    assert not (tmp_path / "out" / "vdl").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "vdl").write_text("")
    with pytest.raises(ArtifactError, match="vdl"):
        EventLog(tmp_path, "hmean").open(Progress(steps=1))


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("kind", ["pipe", "folder", "circle", "nothing", "zeros"])
def test_a_log_that_is_no_file_is_told_before_anything_is_written(images: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out/vdl/vdlrecords.1.log"
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"circle": path.name, "nothing": "nowhere", "zeros": "/dev/zero"}[kind])
    with pytest.raises(ArtifactError, match=r"vdlrecords\.1\.log"):
        run(make_config(images, tmp_path / "out", VDL))
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["vdl"]


@pytest.mark.parametrize("stage", [run_train, run_prune])
def test_a_missing_package_is_said_before_any_work(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setitem(sys.modules, "visualdl", None)
    config = make_config(images, tmp_path / "out", VDL, "PostProcess={name: DBPostProcess}")
    tree = {**config.tree, "Eval": config.tree["Train"]}
    with pytest.raises(ConfigError, match=r"use_visualdl is true.*pip install visualdl==2\.5\.3"):
        stage(Config(config.path, tree))
    assert not (tmp_path / "out").exists()
    assert not wants_event_log(make_config(images, tmp_path / "out", "Global.use_visualdl=false"))


@pytest.mark.slow
def test_the_command_ends_with_code_2_without_the_package(repo: Path, v2_config: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['visualdl'] = None; from ocrslim.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [
        sys.executable,
        "-c",
        code,
        "train",
        "-c",
        str(v2_config),
        "-o",
        VDL,
        f"Global.save_model_dir={tmp_path}/o",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "pip install visualdl" in error
    assert not (tmp_path / "o").exists()
