"""Models without their code, through the commands: pruned without training and labels, written back as they came."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
import yaml
from bare_models import FORMAT_OF, KINDS, PRUNE, SMALL, source, write_images
from onnx_models import node, onnx_model, saved, weights
from small_export import FORMATS

from ocrslim.cli import main
from ocrslim.config import load_model_config
from ocrslim.errors import ConfigError


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "images")


def answer(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_pruned_without_training_and_written_back_as_it_came(kind, images, tmp_path, capsys):
    model, out, exported = source(tmp_path / "model", kind), tmp_path / "out", tmp_path / "exported"
    words = ["--json", "-o", SMALL, f"Global.save_model_dir={out}"]
    assert main(["prune", str(model), "--task", "det", "--images", str(images), *words, *PRUNE]) == 0
    before, after = answer(capsys)["macs"]
    assert 0.7 * before < after <= 0.8 * before
    assert (out / "predicted_labels/eval.txt").read_text().count("\n") == 4  # a third of the images
    target = [f"Global.save_inference_dir={exported}", "Export.rewrite=false"]
    assert main(["export", str(out / "best_accuracy"), "--json", "-o", *target]) == 0
    result = answer(capsys)
    assert result["format"] == FORMAT_OF[kind] and max(result["max_difference"].values()) <= 1e-4
    if kind == "onnx":
        found = onnx.load(exported / "det.onnx")
        assert [op.op_type for op in found.graph.node] == [op.op_type for op in onnx.load(model).graph.node]
        assert sum(len(one.raw_data) for one in found.graph.initializer) < 4 * (8 * 27 + 8 * 72 + 8)
    scored = ["eval", str(model), "--task", "det", "-o", SMALL, f"Eval.dataset.data_dir={images}"]
    assert main([*scored, f"Eval.dataset.label_file_list=[{out}/predicted_labels/eval.txt]", "--json"]) == 0
    assert answer(capsys)["hmean"] == 1  # of the unpruned network, by what it finds itself


def with_an_operator_of_onnx_alone(path: Path) -> Path:
    """Write a detector with an operator that Paddle has no equal of."""
    tensors = {"a": weights(8, 3, 3, 3), "b": weights(8, 8, 3, 3, seed=1), "c": 6 * weights(1, 8, 1, 1, seed=2)}
    ops = (
        node("Conv", "x a", "1", pads=[1] * 4),
        node("Relu", "1", "2"),
        node("Conv", "2 b", "3", pads=[1] * 4),
        node("LpNormalization", "3", "4", axis=1),
        node("Conv", "4 c bias", "5"),
        node("Sigmoid", "5", "y"),
    )
    saved(path, onnx_model(*ops, tensors={**tensors, "bias": np.ones(1, np.float32)}))
    return path


def test_around_an_operator_that_paddle_does_not_have_the_rest_is_pruned(images, tmp_path, capsys, caplog):
    model = with_an_operator_of_onnx_alone(tmp_path / "det.onnx")
    out, exported = tmp_path / "out", tmp_path / "exported"
    assert main(["groups", str(model), "--task", "det"]) == 0
    told = capsys.readouterr().out
    assert "1 groups" in told and "operator onnx.LpNormalization has no rule" in told
    assert "is not read" not in caplog.text  # the file is what the groups are of

    words = ["prune", str(model), "--task", "det", "--images", str(images), "--json", "-o", SMALL]
    settings = [f"Global.save_model_dir={out}", "Prune.target={macs: 0.1}", "Prune.align=1", "Prune.recover_images=4"]
    assert main([*words, *settings]) == 0
    target = f"Global.save_inference_dir={exported}"
    assert main(["export", str(out / "best_accuracy"), "--json", "-o", target, "Export.rewrite=false"]) == 0
    assert max(answer(capsys)["max_difference"].values()) <= 1e-4
    shapes = {one.name: list(one.dims) for one in onnx.load(exported / "det.onnx").graph.initializer}
    assert shapes["a"][0] == shapes["b"][1] < 8 and shapes["b"][0] == shapes["c"][1] == 8
    assert main([*words, *settings, "Global.epoch_num=1", f"Global.save_model_dir={tmp_path}/trained"]) == 2
    assert "LpNormalization is run by ONNX Runtime, without gradients" in capsys.readouterr().err


def test_where_the_runtime_of_such_an_operator_does_not_start_that_is_said(images, tmp_path, monkeypatch, capsys):
    model = with_an_operator_of_onnx_alone(tmp_path / "det.onnx")
    monkeypatch.setattr("onnxruntime.InferenceSession", Mock(side_effect=RuntimeError("no threads")))
    words = ["prune", str(model), "--task", "det", "--images", str(images), "-o", SMALL, "Prune.target={macs: 0.1}"]
    assert main([*words, f"Global.save_model_dir={tmp_path}/out"]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert "LpNormalization is run by ONNX Runtime alone. ONNX Runtime is installed and does not start" in line


def test_a_settings_file_beside_the_model_says_how_it_is_run(images, tmp_path, capsys):
    model = source(tmp_path / "model", FORMATS[0])
    transforms = [
        {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
        {"DetLabelEncode": None},
        {"DetResizeForTest": {"image_shape": [64, 96]}},
        {"NormalizeImage": {"scale": "1./255.", "mean": [0.5] * 3, "std": [0.5] * 3, "order": "hwc"}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ]
    settings = {"PreProcess": {"transform_ops": transforms}, "PostProcess": {"name": "DBPostProcess"}}
    assert main(["groups", str(model)]) == 2
    assert "name its task with --task (det" in capsys.readouterr().err
    (model / "inference.yml").write_text(yaml.safe_dump(settings))
    assert main(["groups", str(model), "--json"]) == 0
    assert answer(capsys)["prunable_macs_share"] > 0.5


def test_a_settings_file_leaves_open_what_the_task_knows(tmp_path):
    model = source(tmp_path / "model", FORMATS[0])
    transforms = [
        {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
        {"CTCLabelEncode": None},
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        {"KeepKeys": {"keep_keys": ["image", "label", "length"]}},
    ]
    settings: dict = {"PreProcess": {"transform_ops": transforms}}
    settings["PostProcess"] = {"name": "CTCLabelDecode", "character_dict": ["a", "b"]}
    (model / "inference.yml").write_text(yaml.safe_dump(settings))
    found = load_model_config(model).section("Global")
    assert found["max_text_length"] == 25 and found["use_space_char"], "PaddleOCR's encoder needs the first"
    assert load_model_config(model, task="rec").section("Global") == found
    with pytest.raises(
        ConfigError, match=r"inference.yml: PostProcess.name: found CTCLabelDecode, .* leave --task det"
    ):
        load_model_config(model, task="det")


def test_a_file_that_changed_is_not_taken_for_the_one_that_was_pruned(images, tmp_path, capsys):
    model, out = source(tmp_path / "model", "onnx"), tmp_path / "out"
    words = ["-o", SMALL, f"Global.save_model_dir={out}", *PRUNE]
    assert main(["prune", str(model), "--task", "det", "--images", str(images), *words]) == 0
    (tmp_path / "moved").mkdir()
    moved = model.rename(tmp_path / "moved/det.onnx")
    there = ["export", str(out / "best_accuracy"), "-o", f"Global.save_inference_dir={tmp_path}/exported"]
    assert main(there) == 2
    assert "Architecture.program" in capsys.readouterr().err
    assert main([*there, f"Architecture.program={moved}"]) == 0
    changed = onnx.load(moved)
    changed.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights(8, 3, 3, 3, seed=9), "a"))
    saved(moved, changed)
    assert main([*there, f"Architecture.program={moved}"]) == 2
    assert "is not the file it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prune", "gone.onnx", "--task", "det"], "gone.onnx: not found"),
        (["prune"], "no model is named: expected MODEL"),
        (["groups", "gone.onnx", "--task", "ocr"], "'ocr' is not supported: expected 'det'"),
    ],
)
def test_a_model_that_cannot_be_read_is_one_line(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("error:") == 1


@pytest.mark.parametrize("name", ["gone", "gone.onnx", "gone.pdparams", "folder/gone"])
@pytest.mark.parametrize("command", ["groups", "prune", "sensitivity", "export"])
def test_a_configuration_without_architecture_and_a_wrong_path_is_the_path(command, name, capsys, tmp_path):
    config = tmp_path / "run.yml"
    config.write_text(yaml.safe_dump({"Global": {"epoch_num": 0}, "Architecture": {"model_type": "det"}}))
    assert main([command, "-c", str(config), "-o", f"Global.pretrained_model={tmp_path / name}"]) == 2
    said = capsys.readouterr().err
    key = "Architecture.program" if name.endswith(".onnx") else "Global.pretrained_model"
    assert f"error: {key}: {tmp_path / name}: not found" in said and said.count("error:") == 1
