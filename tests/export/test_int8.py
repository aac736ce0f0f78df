"""A quantised model beside an exported one: written by each tool, scored, and refused where it loses too much."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx_models import node, numbers, onnx_model, saved, small_detector

from ocrslim.config import load_config
from ocrslim.errors import ConfigError, ExportError, WeightsError
from ocrslim.export.quantising import int8, tools
from ocrslim.export.quantising.int8 import Int8Images, int8_lacks, quantised_export, require_int8, write_int8
from ocrslim.formats import input_sizes, open_onnx
from ocrslim.inference import OnnxEngine

_NEEDED = {tools.ONNXRUNTIME: "onnxruntime.quantization", tools.NNCF: "nncf"}


@pytest.fixture
def model(tmp_path):
    """A detector in the opset of an export."""
    return small_detector(tmp_path / "float.onnx", opset=11)


def images(count=4):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 3, 32, 48)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("tool", tools.TOOLS)
def test_a_tool_writes_a_file_in_integers_that_computes_nearly_the_same(model, tmp_path, tool):
    pytest.importorskip(_NEEDED[tool], reason=f"package not installed: {tool}")
    target = tmp_path / "int8.onnx"
    int8.quantise(model, images(), target, tool)
    kinds = {each.op_type for each in onnx.load(str(target)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    image = images()[0][:, :, :, :32]
    off = np.abs(OnnxEngine(target)(image) - OnnxEngine(model)(image)).max()
    assert 0 < off < 0.1, "nearly, and not exactly"
    assert input_sizes(target) == (-1, 3, -1, -1), "as before"
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("float.onnx", "int8.onnx")] == []


def test_a_quantised_file_is_run_and_not_pruned(model, tmp_path):
    target = tmp_path / "int8.onnx"
    int8.quantise(model, images(), target, tools.ONNXRUNTIME)
    assert open_onnx(target, quantised=True).nodes
    with pytest.raises(WeightsError, match="it is quantised .*: prune the model in float32 and quantise that"):
        open_onnx(target)


def test_what_the_tool_cannot_quantise_is_an_error_with_its_cause(tmp_path):
    broken = saved(tmp_path / "float.onnx", onnx_model(node("Reshape", "x s", "y"), tensors={"s": numbers(7)}))
    with pytest.raises(ExportError, match=r"onnxruntime fails on this network \(.+\): leave it out with Export.int8"):
        int8.quantise(broken, images(), tmp_path / "int8.onnx", tools.ONNXRUNTIME)


SOME = Int8Images([None] * 4, [None])  # counted, and not read


@pytest.fixture
def configured(v2_config, monkeypatch):
    """A configuration whose images are scored, but not read."""
    scores = iter([0.9, 0.89])
    monkeypatch.setattr(int8, "calibration_inputs", lambda config, labelled: images(len(labelled)))
    monkeypatch.setattr(int8, "EvalSet", lambda *_: None)
    monkeypatch.setattr(int8, "Scorer", lambda config: lambda engine, images, desc: {"hmean": next(scores)})

    def made(*options):
        return load_config(v2_config, options)

    return made


@pytest.mark.parametrize(("tolerance", "accepted"), [(0.01, True), (0.009, False)])
def test_it_is_accepted_up_to_the_tolerance(configured, model, tmp_path, tolerance, accepted):
    config = configured(f"Export.int8_tolerance={tolerance}", "Export.runtime=onnxruntime")
    folder = tmp_path / "int8"
    folder.mkdir()
    made = quantised_export(model, config, folder, SOME)
    assert made.file == folder / "inference.onnx" and made.file.is_file()
    assert (made.tool, made.images, made.accepted) == ("onnxruntime", 4, accepted)
    assert made.lost == pytest.approx(0.01)
    assert "int8 by onnxruntime: hmean 0.9000 -> 0.8900 (-0.0100)" in str(made)
    assert ("more than Export.int8_tolerance" in str(made)) == (not accepted)


@pytest.mark.parametrize("tolerance", [0.01, 0.009])
def test_in_an_export_it_has_a_folder_and_is_gone_where_it_loses_too_much(
    configured, model, tmp_path, caplog, tolerance
):
    caplog.set_level("INFO")
    (model.parent / "inference.yml").write_text("Global: {model_name: a}")
    folder = tmp_path / "export"
    folder.mkdir()
    made = write_int8(model, configured(f"Export.int8_tolerance={tolerance}"), folder, SOME)
    assert (folder / "int8").is_dir() == made.accepted == (tolerance == 0.01)
    if made.accepted:
        found = sorted(path.name for path in (folder / "int8").iterdir())
        assert found == ["export.json", "inference.onnx", "inference.yml"]
        assert json.loads((folder / "int8/export.json").read_text())["after"] == {"hmean": 0.89}
    assert [record.levelname for record in caplog.records] == ["INFO" if made.accepted else "WARNING"]


def test_what_it_needs_is_demanded_before_the_work(v2_config, monkeypatch):
    config = load_config(v2_config, ["Export.int8=true", "Export.runtime=openvino"])
    require_int8(load_config(v2_config), ["paddle"])
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    assert int8_lacks(config) == "nncf and openvino not installed: pip install nncf openvino"
    with pytest.raises(
        ExportError, match="Export.int8: nncf and openvino not installed: pip install nncf openvino; or"
    ):
        require_int8(config, ["paddle", "onnx"])
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: name)
    require_int8(config, ["paddle", "onnx"])
    with pytest.raises(ExportError, match=r"none is exported \(paddle\): name onnx in Export.formats"):
        require_int8(config, ["paddle"])
    with pytest.raises(ConfigError, match="Train"):
        require_int8(config.changed({"Train": None}), ["onnx"])


def test_a_runtime_that_does_not_start_cannot_quantise(v2_config, monkeypatch):
    """It is told before the work, where its package is there."""
    runtime = pytest.importorskip("onnxruntime")
    config = load_config(v2_config, ["Export.int8=true", "Export.runtime=onnxruntime"])
    assert int8_lacks(config) is None

    def refuse(*_, **__):
        raise RuntimeError("no threads")

    monkeypatch.setattr(runtime, "InferenceSession", refuse)
    with pytest.raises(ExportError, match=r"^Export.int8: ONNX Runtime is installed and does not start \(no threads\)"):
        require_int8(config, ["onnx"])
