"""What is written to be timed in a runtime: the network alone, in the format in which it would be exported."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import small_detector
from small_export import FORMATS, Tiny, export

from ocrslim.config import load_model_config
from ocrslim.export import network_for, source
from ocrslim.inference import RUNTIMES, DygraphEngine
from ocrslim.pruning import load_network

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)


@pytest.fixture
def onnx_network(tmp_path):
    return small_detector(tmp_path / "detector.onnx")


def written(path, runtime, folder):
    config = load_model_config(path, overrides=[f"Export.runtime={runtime}"], task="det")
    model = load_network(config).model
    folder.mkdir()
    return network_for(runtime, model, config, folder), DygraphEngine(model)(IMAGE)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_from_an_onnx_file_is_written_back_where_the_runtime_reads_it(onnx_network, tmp_path, runtime):
    if not RUNTIMES[runtime].installed:
        pytest.skip(f"package not installed: {RUNTIMES[runtime].package}")
    file, expected = written(onnx_network, runtime, tmp_path / "out")
    assert file.name == onnx_network.name if runtime != "paddle" else file.suffix in (".pdmodel", ".json")
    assert RUNTIMES[runtime].open(file, 1, True)(IMAGE) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_from_a_folder_is_converted_where_the_runtime_does_not_read_it(tmp_path, runtime, kind):
    folder = export(Tiny(), tmp_path / "model", legacy=kind == "legacy")
    if not RUNTIMES[runtime].installed:
        pytest.skip(f"package not installed: {RUNTIMES[runtime].package}")
    file, expected = written(folder, runtime, tmp_path / "out")
    assert file.suffix in RUNTIMES[runtime].suffixes
    assert RUNTIMES[runtime].open(file, 1, True)(IMAGE) == pytest.approx(expected, abs=1e-5)


def test_a_file_that_is_read_needs_no_converter(onnx_network, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "onnx_lacks", lambda: "paddle2onnx is not installed")
    assert written(onnx_network, "onnxruntime", tmp_path / "out")[0].is_file()
