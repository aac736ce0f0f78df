"""A quantised model beside an exported one: written by each tool, scored, and refused where it loses too much."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_models import node, numbers, onnx_model, saved, weights

from ocrslim.config import load_config
from ocrslim.errors import ConfigError, DataError, ExportError, WeightsError
from ocrslim.export import int8_lacks, quantised_export
from ocrslim.export.quantising import int8, tools
from ocrslim.formats import input_sizes, open_onnx
from ocrslim.inference import OnnxEngine

_NEEDED = {tools.ONNXRUNTIME: "onnxruntime.quantization", tools.NNCF: "nncf"}


@pytest.fixture
def model(tmp_path):
    """Two convolutions, of images of any size, in the opset of an export."""
    nodes = [
        node("Conv", "x a", "m", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "m", "r"),
        node("Conv", "r b", "c", kernel_shape=[1, 1]),
        node("Sigmoid", "c", "y"),
    ]
    tensors = {"a": weights(8, 3, 3, 3), "b": weights(1, 8, 1, 1)}
    return saved(tmp_path / "float.onnx", onnx_model(*nodes, tensors=tensors, image=("n", 3, "h", "w"), opset=11))


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


@pytest.fixture
def configured(v2_config, tmp_path, monkeypatch):
    """A configuration whose images are counted and scored, but not read."""

    class Labelled:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

    scores = iter([0.9, 0.89])
    monkeypatch.setattr(int8, "scan_both", lambda config: (Labelled(config.prune.recover_images), Labelled(1)))
    monkeypatch.setattr(int8, "with_predicted_labels", lambda config: config)
    monkeypatch.setattr(int8, "calibration_inputs", lambda config, labelled: images(len(labelled)))
    monkeypatch.setattr(int8, "EvalSet", lambda *_: None)
    monkeypatch.setattr(int8, "Scorer", lambda config: lambda engine, images, desc: {"hmean": next(scores)})

    def made(*options):
        return load_config(v2_config, options)

    return made


@pytest.mark.parametrize(("tolerance", "accepted"), [(0.01, True), (0.009, False)])
def test_it_is_accepted_up_to_the_tolerance(configured, model, tmp_path, tolerance, accepted):
    config = configured("Prune.recover_images=4", f"Export.int8_tolerance={tolerance}", "Export.runtime=onnxruntime")
    folder = tmp_path / "int8"
    folder.mkdir()
    made = quantised_export(model, config, folder)
    assert made.file == folder / "inference.onnx" and made.file.is_file()
    assert (made.tool, made.images, made.accepted) == ("onnxruntime", 4, accepted)
    assert made.lost == pytest.approx(0.01)
    assert "int8 by onnxruntime: hmean 0.9000 -> 0.8900 (-0.0100)" in str(made)
    assert ("more than Export.int8_tolerance" in str(made)) == (not accepted)


def test_too_few_images_to_calibrate_on_are_refused(configured, model, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "scan_both", lambda config: ([1, 2], [1]))
    with pytest.raises(
        DataError, match="Export.int8: Train.dataset has 2 usable images to calibrate on, .* at least 4"
    ):
        quantised_export(model, configured(), tmp_path)


def test_without_images_it_is_refused(v2_config, model, tmp_path):
    config = load_config(v2_config).changed({"Train": None})
    with pytest.raises(ConfigError, match="Train.dataset"):
        quantised_export(model, config, tmp_path)


def test_a_missing_tool_is_named_with_its_command(configured, model, tmp_path, monkeypatch):
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    config = configured("Export.runtime=openvino")
    assert int8_lacks(config) == "nncf and openvino not installed: pip install nncf openvino"
    with pytest.raises(
        ExportError, match="Export.int8: nncf and openvino not installed: pip install nncf openvino; or"
    ):
        quantised_export(model, config, tmp_path)
