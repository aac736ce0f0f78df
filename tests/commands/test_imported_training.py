"""Models without their code that train: without labels by what the unpruned network makes of images, or by labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from bare_models import FORMAT_OF
from small_export import FORMATS
from test_imported_models import PRUNE, SMALL, answer, images, source
from training import Stop, assert_same, weights

from ocrslim.cli import main, run_script
from ocrslim.config import load_config
from ocrslim.training.trainer import Trainer

__all__ = ["images"]  # a fixture

TRAIN = (
    "Global.epoch_num=2",
    "Train.loader.batch_size_per_card=2",
    "Optimizer.lr.learning_rate=0.003",
    "Optimizer.lr.warmup_steps=0",
)
BEST = "best_accuracy"


@pytest.fixture(autouse=True)
def small_crops(monkeypatch):
    """Refits and trainings without labels see 64x64 pixels."""
    monkeypatch.setattr("ocrslim.tasks.detection.task.CROP", 64)


@pytest.fixture
def model(tmp_path):
    return source(tmp_path / "model", FORMATS[-1])


def prune(model: Path, images: Path, out: Path, *options: str) -> int:
    words = ["prune", str(model), "--task", "det", "--images", str(images), "--json", "-o", SMALL]
    return main([*words, *PRUNE, f"Global.save_model_dir={out}", *options])


@pytest.mark.parametrize("kind", [*FORMATS, "onnx"])
def test_without_labels_it_learns_from_the_unpruned_network(kind, images, tmp_path, capsys, caplog):
    out, exported = tmp_path / "out", tmp_path / "exported"
    assert prune(source(tmp_path / "model", kind), images, out, *TRAIN) == 0
    result = answer(capsys)
    assert "no labels are named: the network learns what the unpruned one makes" in caplog.text
    assert ("no batch norm is left" if kind == "onnx" else "batch norms left, whose statistics stay: 1") in caplog.text
    steps = [entry["step"] for entry in result["history"]]
    assert steps == [0, 4, 8]  # of eight images, the others are scored on; after each epoch
    assert result["best"]["hmean"] == max(entry["hmean"] for entry in result["history"])
    assert result["history"][2]["loss"] < result["history"][1]["loss"]
    assert not (out / "predicted_labels/train.txt").exists()
    assert main(["export", str(out / "latest"), "--json", "-o", f"Global.save_inference_dir={exported}"]) == 0
    assert answer(capsys)["format"] == FORMAT_OF[kind]


def test_a_training_that_hurts_is_not_kept(model, images, tmp_path, capsys):
    refitted, hurt = tmp_path / "refitted", tmp_path / "hurt"
    assert prune(model, images, refitted) == 0
    assert prune(model, images, hurt, *TRAIN, "Optimizer.lr.learning_rate=3") == 0
    result = answer(capsys)
    assert result["last"]["hmean"] < result["start"]["hmean"], "control: it does hurt"
    assert result["best"]["step"] == 0
    assert_same(weights(hurt, BEST), weights(refitted, BEST), 0)


def test_interrupted_and_resumed_it_ends_with_the_same_weights(model, images, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert prune(model, images, whole, *TRAIN) == 0
    step, done = Trainer._step, []

    def stopping(self, batch):
        if len(done) == 5:
            raise Stop
        done.append(step(self, batch))

    monkeypatch.setattr(Trainer, "_step", stopping)
    with pytest.raises(Stop):
        prune(model, images, parts, *TRAIN)
    monkeypatch.setattr(Trainer, "_step", step)
    assert prune(model, images, parts, *TRAIN) == 0
    assert_same(weights(parts), weights(whole), 0)


def test_a_pruned_checkpoint_trains_on_by_the_file_it_was_cut_out_of(model, images, tmp_path, capsys):
    out, more = tmp_path / "out", tmp_path / "more"
    assert prune(model, images, out) == 0
    capsys.readouterr()
    words = ["train", str(out / BEST), "--json", "-o", f"Global.save_model_dir={more}", *TRAIN]
    assert main(words) == 0
    result = answer(capsys)
    assert result["last"]["step"] == 8
    assert result["history"][2]["loss"] < result["history"][1]["loss"]
    first, last = weights(out, BEST), weights(more)
    assert any(np.abs(first[key] - last[key]).max() > 1e-4 for key in first)
    assert main(["train", str(model), "--task", "det", "--images", str(images), "-o", SMALL, *TRAIN]) == 2
    assert "there is no unpruned network to learn from" in capsys.readouterr().err


def test_with_labels_the_loss_of_the_task_counts(model, images, tmp_path, capsys, caplog):
    out, labels = tmp_path / "out", tmp_path / "labels.txt"
    box = [{"transcription": "text", "points": [[8, 8], [80, 8], [80, 40], [8, 40]]}]
    labels.write_text("".join(f"{number:02}.png\t{json.dumps(box)}\n" for number in range(1, 12)))
    folders = [f"{mode}.dataset.data_dir={images}" for mode in ("Train", "Eval")]
    size = "Train.dataset.transforms.EastRandomCropData.size=[64, 64]"
    words = ["prune", str(model), "--task", "det", "--json", "-o", SMALL, *PRUNE, *TRAIN, *folders, size]
    assert main([*words, f"Train.dataset.label_file_list=[{labels}]", f"Global.save_model_dir={out}"]) == 0
    assert "its shrink map is trained alone" in caplog.text
    assert "no labels are named: the network" not in caplog.text
    assert answer(capsys)["last"]["loss"] > 0
    text = (out / "predicted_labels/eval.txt").read_text()
    assert [line.partition("\t")[0] for line in text.splitlines()] == ["00.png"], "held out from the training"


def test_nothing_to_learn_from_is_one_line(model, images, tmp_path, capsys):
    assert prune(model, images, tmp_path / "out", *TRAIN, "Prune.distill={maps: 0, features: 0}") == 2
    said = capsys.readouterr().err
    assert "nothing is compared with the unpruned network" in said and said.count("error:") == 1


def test_a_configuration_needs_no_loss_and_no_optimizer_for_that(model, images, tmp_path, capsys):
    transforms = [
        {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
        {"DetLabelEncode": None},
        {"DetResizeForTest": {"image_shape": [64, 96]}},
        {"NormalizeImage": {"scale": "1./255.", "mean": [0.5] * 3, "std": [0.2] * 3, "order": "hwc"}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ]
    dataset = {"name": "SimpleDataSet", "data_dir": str(images), "transforms": transforms}
    tree = {
        "Global": {"epoch_num": 1, "save_model_dir": str(tmp_path / "out"), "pretrained_model": str(model)},
        "PostProcess": {"name": "DBPostProcess"},
        "Train": {"dataset": dataset},
        "Eval": {"dataset": dataset},
    }
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(tree))
    assert (
        run_script(
            "prune", ["-c", str(path), "--json", "-o", "Prune.criterion=reconstruction", "Prune.skip_first=0", *PRUNE]
        )
        == 0
    )
    assert answer(capsys)["last"]["step"] == 2  # of eight images, four at a time
    saved = yaml.safe_load((tmp_path / "out/config.yml").read_text())
    assert saved["Optimizer"]["name"] == "Adam" and "Loss" not in saved
    assert "label_file_list" not in saved["Train"]["dataset"]


def test_a_configuration_of_another_network_serves_a_file_once_it_is_cleared(model):
    shipped = Path(__file__).resolve().parents[2] / "configs/det/det_mv3_db.yml"
    config = load_config(shipped, ["Architecture=", f"Global.pretrained_model={model}"])
    assert config.get("Architecture.program") == str(model)
    assert config.section("Loss")["name"] == "DBLoss"  # which works on what the file returns
