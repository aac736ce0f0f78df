"""Whose folder it is: runs that go on, runs that are refused, files that are not replaced."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import paddle
import pytest
from training import (
    Scores,
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

from ocrslim.errors import TrainingError
from ocrslim.training.checkpointing.state_file import load_state
from ocrslim.training.monitoring.history import Progress
from ocrslim.training.optimization.train_step import TrainStep

__all__ = ["images", "no_images"]  # fixtures


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
def test_what_a_kill_behind_the_last_step_has_kept_from_being_made_is_made(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = make_config(images, out)
    plan = plan_of(config)
    run(config, plan=plan)
    kept = {path.name for path in out.iterdir()}
    assert kept >= {"training.png", "config.yml", "latest.json", "latest.plan.json", "best_accuracy.json"}
    for name in kept - {"latest.pdopt", "best_accuracy.pdparams"}:
        (out / name).unlink()
    for name in (".config.yml.abcd_123", ".training.png.abcd_123", ".trials.json.abcd_123", ".latest.pdopt.abcd_123"):
        (out / name).touch()
    run(config, plan=plan, evaluate=stop_after(0))
    assert {path.name for path in out.iterdir()} == kept


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("kind", ["pipe", "folder", "zeros", "endless"])
def test_a_state_that_is_no_file_is_refused_before_it_is_read(images: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = out / "latest.pdopt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zeros":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 42)
    with pytest.raises(TrainingError, match=r"latest\.pdopt: (cannot be read|not the state)"):
        run(make_config(images, out))


@pytest.mark.usefixtures("no_images")
def test_a_state_with_another_number_of_steps_than_its_run_has_is_refused(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = make_config(images, out)
    with pytest.raises(KeyboardInterrupt):
        run(config, evaluate=stop_after(2, KeyboardInterrupt))
    content = pickle.loads((out / "latest.pdopt").read_bytes())
    content["progress"]["steps"] = 10**9
    (out / "latest.pdopt").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(TrainingError, match=r"progress\.steps is 1000000000, expected 12"):
        run(config)


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
    with pytest.raises(TrainingError, match=r"origin.weights is aaaaaaaaaaaa there and bbbbbbbbbbbb here"):
        run(config, plan=plan_of(config), origin={"weights": "b" * 64})
    with pytest.raises(TrainingError, match=r"plan is [0-9a-f]{12} there and None here"):
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
    with pytest.raises(TrainingError, match=r"is of another training run: Global.seed is 1024 there and 7 here"):
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


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:  # whole, of the right shapes, but not what was found best
        paddle.save(tiny(seed=77).state_dict(), str(path))


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("how", ["missing", "truncated", "other weights"])
def test_lost_best_weights_of_a_finished_run_are_named(images: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    config = make_config(images, out)
    run(config, evaluate=scores_from([0.9, 0.1]), plan=plan_of(config))
    last = weights(out)
    damage(out / "best_accuracy.pdparams", how)
    (out / "latest.pdparams").unlink()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(TrainingError) as caught:
        run(config, evaluate=stop_after(0), plan=plan_of(config))
    text = str(caught.value)
    assert text.startswith(f"{out}/best_accuracy.pdparams: ") and "\n" not in text
    assert f"the last ones are in {out}/latest.pdparams" in text and "-o Global.overwrite=true" in text
    assert_same(weights(out), last, 0)
    (out / "latest.pdparams").unlink()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    again = run(make_config(images, out, "Global.overwrite=true"), plan=plan_of(config))  # the advice helps
    assert again.continued_at is None


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("how", ["missing", "truncated", "other weights"])
def test_lost_best_weights_of_an_unfinished_run_are_found_anew(images: Path, tmp_path: Path, how: str, caplog) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        run(make_config(images, out), evaluate=stop_after(2))
    kept = load_state(out / "latest.pdopt").progress.best
    damage(out / "best_accuracy.pdparams", how)
    caplog.set_level(logging.INFO)
    result = run(make_config(images, out), evaluate=scores_from([0.1, 0.2, 0.05]))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert kept is not None and len(warnings) == 1
    assert warnings[0].startswith(f"{out}/best_accuracy.pdparams: ") and f"at step {kept.step}" in warnings[0]
    assert (result.best.step, result.best.metrics["hmean"]) == (9, 0.2)
    assert "before training" not in caplog.text


@pytest.mark.usefixtures("no_images")
def test_a_lost_best_right_after_its_evaluation(images: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    """The weights at hand were scored already: scored again, as training went before them."""
    out = tmp_path / "out"
    monkeypatch.setattr("ocrslim.training.checkpointing.checkpoints.SAVE_SECONDS", 1e9)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("ocrslim.training.optimization.train_step.TrainStep.step", stop_at_step(7))
        run(make_config(images, out), evaluate=scores_from([0.1, 0.2, 0.3]))
    state = load_state(out / "latest.pdopt")
    assert state.progress.evaluated == state.progress.step == 6
    (out / "best_accuracy.pdparams").unlink()
    caplog.set_level(logging.INFO)
    result = run(make_config(images, out), evaluate=scores_from([0.3, 0.2, 0.05]))
    assert [entry.step for entry in result.history] == [0, 3, 6, 9, 12] and result.best.step == 6
    assert result.history[2].loss == state.progress.history[2].loss is not None
    assert "before training" not in caplog.text


def stop_at_step(number: int):
    step = TrainStep.step

    def stopping(stepper: TrainStep, batch: list[paddle.Tensor], progress: Progress) -> float:
        if progress.step == number - 1:
            raise Stop
        return step(stepper, batch, progress)

    return stopping


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_plan_and_record_beside_the_best_weights_come_back(
    images: Path, tmp_path: Path, finished: bool, how: str
) -> None:
    out = tmp_path / "out"
    config = make_config(images, out, "Global.save_epoch_step=1")
    if finished:
        run(config, evaluate=scores_from([0.9, 0.1]), plan=plan_of(config))
    else:
        with pytest.raises(KeyboardInterrupt):
            run(config, evaluate=scores_then_stop([0.9, 0.1, 0.1]), plan=plan_of(config))
    names = ["best_accuracy.plan.json", "iter_epoch_1.plan.json", "best_accuracy.json"]
    before = {name: (out / name).read_bytes() for name in names}
    for name in names:
        damage(out / name, how)
    run(config, evaluate=scores_from([0.1]), plan=plan_of(config))
    assert {name: (out / name).read_bytes() for name in names} == before
    assert before["best_accuracy.plan.json"] == (out / "latest.plan.json").read_bytes()


@pytest.mark.usefixtures("no_images")
def test_best_weights_of_the_folder_are_not_taken_for_those_of_checkpoints(images: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "out", tmp_path / "second" / "out"
    with pytest.raises(KeyboardInterrupt):
        run(make_config(images, first), evaluate=scores_then_stop([0.1, 0.2, 0.9]))
    with pytest.raises(KeyboardInterrupt):
        run(make_config(images, second), evaluate=scores_then_stop([0.3, 0.1]))
    config = make_config(images, second, f"Global.checkpoints={first}/latest")
    result = run(config, evaluate=scores_from([0.3]))
    assert result.best.step == 6
    assert_same(weights(second, "best_accuracy"), weights(first, "best_accuracy"), 0)


@pytest.mark.usefixtures("no_images")
def test_a_finished_run_named_by_checkpoints_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(make_config(images, out))
    config = make_config(images, out, f"Global.checkpoints={out}/latest", "Global.overwrite=true")
    assert run(config, evaluate=stop_after(0)).best == first.best


@pytest.mark.usefixtures("no_images")
def test_a_finished_run_elsewhere_can_be_named_again_and_again(images: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "out", tmp_path / "second" / "out"
    expected = run(make_config(images, first))
    config = make_config(images, second, f"Global.checkpoints={first}/latest")
    for _ in range(2):
        assert run(config, evaluate=stop_after(0)).best == expected.best
    (first / "best_accuracy.pdparams").unlink()
    config = make_config(images, tmp_path / "third", f"Global.checkpoints={first}/latest")
    with pytest.raises(TrainingError, match=r"or train again with -o Global.checkpoints= Global.overwrite=true"):
        run(config)
    assert not (tmp_path / "third").exists()


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize(("name", "told"), [("latest.plan.json", False), ("latest.pdparams", True)])
def test_says_what_it_deletes(images: Path, tmp_path: Path, caplog, name: str, told: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}")
    caplog.set_level(logging.INFO)
    run(make_config(images, out, *(["Global.overwrite=true"] if told else [])))
    assert ("the run that was there is deleted (Global.overwrite)" in caplog.text) == told


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


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
        path.write_bytes(pickle.dumps({"schema": 1, "weights": Bomb(tmp_path / "bomb")}))
    else:
        paddle.save(paddle.optimizer.Adam(parameters=tiny().parameters()).state_dict(), str(path))
    with pytest.raises(TrainingError) as caught:
        run(make_config(images, out))
    assert f"{path}: not the state of a training run" in str(caught.value)
    assert "Global.overwrite=true" in str(caught.value)
    assert not (tmp_path / "bomb").exists()
    run(make_config(images, out, "Global.overwrite=true"))
