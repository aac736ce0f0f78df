"""Networks read from exported folders, and what is refused of these."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from file_networks import Detector, exported
from paddle import nn
from small_export import FORMATS, export

from ocrslim.errors import WeightsError
from ocrslim.formats.weights.tensors import write_tensors
from ocrslim.graph import read_inference_folder


@pytest.fixture(scope="module", params=FORMATS)
def folder(request, tmp_path_factory) -> Path:
    return exported(Detector, tmp_path_factory.mktemp("files"), request.param)


@pytest.fixture
def copied(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "copied")


def _program(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.suffix in (".pdmodel", ".json"))


def test_operators_are_named_as_in_a_trace(folder):
    found = read_inference_folder(folder)
    names = [op.name for op in found.program.ops]
    assert {"conv2d", "depthwise_conv2d", "conv2d_transpose", "batch_norm", "concat", "nearest_interp"} <= set(names)
    assert not {"feed", "fetch", "data"} & set(names)
    assert [value.shape for value in found.program.inputs] == [(-1, 3, -1, -1)]
    assert [(value.shape or ())[1] for value in found.program.outputs] == [1]
    assert found.input_names == ["x"]
    assert len(found.output_names) == 1


def test_parameters_have_their_names_in_the_file_and_arrays(folder):
    found = read_inference_folder(folder)
    values = {
        value.parameter: value.shape for op in found.program.ops for value in op.values() if value.parameter is not None
    }
    assert values == {name: array.shape for name, array in found.arrays.items()}
    assert {(8, 3, 3, 3), (16, 1, 3, 3), (8, 1, 2, 2)} <= set(values.values())


def test_a_folder_may_be_named_by_either_file(folder):
    names = set(read_inference_folder(folder).arrays)
    for path in folder.iterdir():
        if path.suffix != ".info":
            assert set(read_inference_folder(path).arrays) == names


def _refused(source: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        read_inference_folder(source)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_missing_files_are_named(copied):
    (copied / "inference.pdiparams").unlink()
    _refused(copied, "inference.pdiparams", "not found")
    _program(copied).unlink()
    _refused(copied, str(copied), "no inference model")
    _refused(copied / "nowhere", "nowhere", "not found")


@pytest.mark.parametrize("part", ["program", "weights"])
def test_a_truncated_file_is_named(copied, part):
    path = _program(copied) if part == "program" else copied / "inference.pdiparams"
    path.write_bytes(path.read_bytes()[:-100])
    _refused(copied, path.name)


def test_weights_of_another_export_are_refused(copied, tmp_path):
    other = export(nn.Sequential(nn.Conv2D(3, 1, 1)), tmp_path / "other", False)
    shutil.copy(other / "inference.pdiparams", copied / "inference.pdiparams")
    _refused(copied, "inference.pdiparams")


def test_weights_that_are_no_numbers_are_refused(copied):
    arrays = dict(read_inference_folder(copied).arrays)
    arrays[min(arrays)] = np.full_like(arrays[min(arrays)], np.nan)
    (copied / "inference.pdiparams").write_bytes(write_tensors(arrays))
    _refused(copied, min(arrays), "NaN")


def test_an_operator_that_lacks_something_is_refused(tmp_path):
    folder = exported(Detector, tmp_path, "pir")
    program = json.loads((folder / "inference.json").read_text())
    (block,) = program["program"]["regions"][0]["blocks"]
    constant = next(op for op in block["ops"] if op["#"] == "1.full_int_array")
    constant["A"] = [attribute for attribute in constant["A"] if attribute["N"] != "value"]
    (folder / "inference.json").write_text(json.dumps(program))
    _refused(folder, "inference.json", "not as Paddle makes it")


class _TwoInputs(nn.Layer):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize("shapes", [[[None, 3, None, None]] * 2, [[None, 16]]], ids=["two inputs", "no image"])
def test_what_does_not_read_one_image_is_refused(shapes, tmp_path):
    specs = [paddle.static.InputSpec(shape, "float32", name=f"x{i}") for i, shape in enumerate(shapes)]
    model = _TwoInputs() if len(shapes) == 2 else nn.Linear(16, 2)
    paddle.jit.save(paddle.jit.to_static(model, input_spec=specs, full_graph=True), str(tmp_path / "inference"))
    _refused(tmp_path, "image")
