"""The command `export` with several formats: networks from files in each of the others, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from bare_models import FORMAT_OF, KINDS, PRUNE, SMALL, source, write_images
from onnx_models import small_detector
from small_export import needs_converter

from ocrslim.cli import main
from ocrslim.commands import export as command
from ocrslim.export import Exported, ExportedFormat
from ocrslim.export.verification import Proof

FILES = {"paddle": "inference.pdmodel", "pir": "inference.json", "onnx": "inference.onnx"}
WRITTEN = [FORMAT_OF[kind] for kind in KINDS]


def exported(model: Path, folder: Path, *options: str) -> int:
    words = ["export", str(model), "--task", "det", "--json", "-o", SMALL, f"Global.save_inference_dir={folder}"]
    return main([*words, *options])


@needs_converter
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_from_a_file_is_exported_in_every_format(kind, tmp_path, capsys):
    """Its own file is written back as it came, with its operators; the others are made of the network."""
    model = source(tmp_path / "model", kind)
    assert exported(model, tmp_path / "m", f"Export.formats=[{','.join(WRITTEN)}]") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    own = FORMAT_OF[kind]
    assert result["format"] == own and set(result["formats"]) == set(WRITTEN) and not result["unverified"]
    for name, proof in result["formats"].items():
        folder = tmp_path / "m" if name == own else tmp_path / "m" / name
        assert proof["folder"] == str(folder) and max(proof["max_difference"].values()) < 1e-5
        assert proof["control_difference"] > 1e-3
        assert (folder / (model.name if name == own == "onnx" else FILES[name])).is_file()
    if kind == "onnx":
        before, after = (onnx.load(path).graph.node for path in (model, tmp_path / "m/det.onnx"))
        assert [node.op_type for node in before] == [node.op_type for node in after]
    for name in WRITTEN:  # each is a model that the other commands take
        folder = tmp_path / "m" if name == own else tmp_path / "m" / name
        assert main(["groups", str(folder), "--task", "det", "--json"]) == 0


def test_an_unverified_format_is_said_in_print_and_by_the_exit_code(tmp_path, monkeypatch, capsys):
    lost = ExportedFormat("onnx", tmp_path / "m/onnx", 5, Proof(unverified="ONNX Runtime is not installed"))
    monkeypatch.setattr(command, "export_network", lambda *_: Exported(tmp_path / "m", (lost,), {"one": "call()"}))
    assert exported(source(tmp_path / "model", KINDS[0]), tmp_path / "m") == 4
    out = capsys.readouterr().out.splitlines()
    assert (
        f"{tmp_path}/m/onnx: onnx, 5 bytes; not verified: ONNX Runtime is not installed" in out and "one: call()" in out
    )
    assert json.loads(out[-1])["unverified"] == {"onnx": "ONNX Runtime is not installed"}


def test_an_unknown_format_is_a_line(tmp_path, capsys):
    assert exported(source(tmp_path / "model", KINDS[0]), tmp_path / "m", "Export.formats=[tensorrt]") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Export.formats" in line and "tensorrt" in line and "expected one or more of paddle, pir, onnx, lite" in line


def write_noise(folder: Path) -> Path:
    write_images(folder, 12)
    for path in folder.iterdir():
        path.write_bytes(b"noise")
    return folder


@needs_converter
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda folder: folder, "Train.dataset.data_dir {}: not found; expected a folder of images, or one image"),
        (lambda folder: folder.mkdir(), "Train.dataset.data_dir {}: has no images; expected files with the endings"),
        (
            lambda folder: write_images(folder, 4),
            "Train.dataset has 2 usable images to calibrate on, expected at least 4, better 40",
        ),
        (write_noise, "Train.dataset.data_dir {}: none of its images can be read: 8 ("),
    ],
    ids=["missing", "empty", "few", "unreadable"],
)
def test_int8_without_images_fails_before_anything_is_written(made, says, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "images"
    made(folder)
    monkeypatch.setattr("ocrslim.export.source.Source.write", lambda *_: pytest.fail("a format is written"))
    data = [f"{mode}.dataset.data_dir={folder}" for mode in ("Train", "Eval")]
    assert exported(source(tmp_path / "model", "onnx"), tmp_path / "m", "Export.int8=true", *data) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: Export.int8: {says.format(folder)}")
    assert line.endswith(
        "name images with -o Train.dataset.data_dir=DIR Eval.dataset.data_dir=DIR, or leave int8 out with "
        "Export.int8=false"
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path != folder) == ["model"]


def test_int8_of_a_file_takes_images_without_labels(tmp_path, capsys, monkeypatch):
    """The control: with enough of them it is written and scored."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    folder = write_images(tmp_path / "images")
    data = [f"{mode}.dataset.data_dir={folder}" for mode in ("Train", "Eval")]
    options = ("Export.int8=true", "Export.int8_tolerance=1", "Prune.recover_images=4", *data)
    assert exported(source(tmp_path / "model", "onnx"), tmp_path / "m", *options) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["int8"]
    assert found["images"] == 4 and found["before"]["hmean"] == 1.0
    assert (tmp_path / "m/int8/inference.onnx").is_file()


def test_a_checkpoint_with_the_plan_of_another_model_names_both(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, plans = write_images(tmp_path / "images"), {}
    models = {"a": source(tmp_path / "a", "onnx"), "b": small_detector(tmp_path / "det.onnx")}
    for name, model in models.items():
        where = f"Global.save_model_dir={tmp_path}/out_{name}"
        words = ["prune", str(model), "--task", "det", "--images", str(images), "-o", SMALL, *PRUNE, where]
        assert main(words) == 0
        plans[name] = tmp_path / f"out_{name}/best_accuracy.plan.json"
    checkpoint = tmp_path / "out_a/best_accuracy"
    plans["a"].write_bytes(plans["b"].read_bytes())
    capsys.readouterr()
    assert main(["export", str(checkpoint), "-o", "Global.save_inference_dir=m"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{plans['a']}: made for the network {models['b']} (checksum " in line
    assert f"the checkpoint is of {models['a']} (checksum " in line and "None()" not in line
    plans["a"].write_text("{")
    assert main(["export", str(checkpoint), "-o", "Global.save_inference_dir=m"]) == 2
    assert "not readable as JSON" in (line := capsys.readouterr().err) and "run ocrslim prune again" in line
