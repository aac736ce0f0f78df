"""A runtime that starts no network says so, with what helps; one that starts blames the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_models import node, onnx_model, saved, weights
from small_export import FORMATS, Tiny, export

from ocrslim.errors import RuntimeStartError, WeightsError
from ocrslim.inference import RUNTIMES, engines


def refuse(*_, **__):
    raise RuntimeError("no threads")


def onnx_file(folder: Path) -> Path:
    nodes = [node("Conv", "x w", "m", kernel_shape=[1, 1]), node("Sigmoid", "m", "y")]
    return saved(folder / "inference.onnx", onnx_model(*nodes, tensors={"w": weights(1, 3, 1, 1)}))


def paddle_file(folder: Path) -> Path:
    made = export(Tiny(), folder / "model", legacy="legacy" in FORMATS)
    return made / ("inference.pdmodel" if "legacy" in FORMATS else "inference.json")


STARTS = {
    "paddle": (paddle_file, lambda patch: patch.setattr(engines, "open_predictor", refuse)),
    "onnxruntime": (onnx_file, lambda patch: patch.setattr("onnxruntime.InferenceSession", refuse)),
    "openvino": (onnx_file, lambda patch: patch.setattr("openvino.Core.compile_model", refuse)),
}


@pytest.mark.parametrize("name", RUNTIMES)
def test_it_is_said_of_the_runtime(name, tmp_path, monkeypatch):
    runtime, (write, stop) = RUNTIMES[name], STARTS[name]
    if not runtime.installed:
        pytest.skip(f"package not installed: {runtime.package} (requirements-dev.txt)")
    file = write(tmp_path)
    runtime.open(file, 1, True)
    stop(monkeypatch)
    says = rf"^{runtime.title} is installed and does not start \(no threads\): try pip install --force-reinstall"
    with pytest.raises(RuntimeStartError, match=f"{says} --no-deps {runtime.package}$"):
        runtime.open(file, 1, True)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_file_that_is_not_taken_is_named(name, tmp_path):
    """The control: the runtime starts."""
    runtime = RUNTIMES[name]
    if not runtime.installed:
        pytest.skip(f"package not installed: {runtime.package} (requirements-dev.txt)")
    file = onnx_file(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"Sigmoid", b"Nothing"))
    with pytest.raises(WeightsError, match=f"inference.onnx: {runtime.title} cannot load it") as found:
        runtime.open(file, 1, True)
    assert not isinstance(found.value, RuntimeStartError)
