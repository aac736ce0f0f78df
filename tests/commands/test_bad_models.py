"""Models that cannot be pruned, or not as they are: one line that says what is wrong, and nothing run or written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
from bare_models import KINDS, PRUNE, SMALL, onnx_file, paddle_model, source, write_images
from onnx import TensorProto, helper, numpy_helper
from onnx_models import node, onnx_model, saved, weights
from small_export import FORMATS

from ocrslim.cli import main

KERNEL = {"w": weights(8, 3, 3, 3)}
CONV = node("Conv", "x w", "c", kernel_shape=[3, 3])


def refused(capsys, *words: str | Path) -> str:
    command, *others = map(str, words)
    assert main([command, "--task", "det", "-q", *others]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ") and not out
    return line


def custom(folder: Path) -> onnx.ModelProto:
    model = onnx_model(CONV, helper.make_node("Trick", ["c"], ["y"], domain="com.example"), tensors=KERNEL)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def invented(folder: Path) -> onnx.ModelProto:
    return onnx_model(CONV, node("Frobnicate", "c", "y"), tensors=KERNEL)


def unsupported(folder: Path) -> onnx.ModelProto:
    return onnx_model(CONV, node("Bernoulli", "c", "y", seed=1.0), tensors=KERNEL, opset=15)


def external(folder: Path) -> onnx.ModelProto:
    model = onnx_model(CONV, node("Sigmoid", "c", "y"), tensors=KERNEL)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(folder.parent / "secret"))
    return model


def old(folder: Path) -> onnx.ModelProto:
    return onnx_model(CONV, node("Sigmoid", "c", "y"), tensors=KERNEL, opset=7)


def half(folder: Path) -> onnx.ModelProto:
    model = onnx_model(CONV, node("Sigmoid", "c", "y"))
    model.graph.initializer.append(numpy_helper.from_array(KERNEL["w"].astype("float16"), "w"))
    return model


def quantised(folder: Path) -> onnx.ModelProto:
    scale = {"s": np.float32(0.1), "z": np.int8(0), "q": (KERNEL["w"] * 9).astype("int8")}
    return onnx_model(node("DequantizeLinear", "q s z", "w"), CONV, node("Sigmoid", "c", "y"), tensors=scale)


def two_inputs(folder: Path) -> onnx.ModelProto:
    model = onnx_model(CONV, node("Add", "c b", "y"), tensors=KERNEL)
    model.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [1]))
    return model


def vectors(folder: Path) -> onnx.ModelProto:
    return onnx_model(node("MatMul", "x m", "y"), tensors={"m": weights(16, 4)}, image=("n", 16))


def grey(folder: Path) -> onnx.ModelProto:
    kernel = {"w": weights(8, 1, 3, 3)}
    return onnx_model(CONV, node("Sigmoid", "c", "y"), tensors=kernel, image=("n", 1, "h", "w"))


ONNX = {
    custom: "det.onnx: it has operators of other makers (com.example.Trick x1), expected those of ONNX alone",
    invented: "det.onnx: it has operators that ONNX does not have in opset 13 (Frobnicate x1)",
    unsupported: "det.onnx: it has operators that are not known here (Bernoulli x1)",
    external: "det.onnx: w lies in another file, which is not opened (save the model with its arrays in it",
    old: "det.onnx: it has the opset 7, expected 9 to 22: convert it with onnx.version_converter",
    half: "det.onnx: w is float16, expected float32: take the float32 model",
    quantised: "det.onnx: it is quantised (DequantizeLinear x1): prune the model in float32 and quantise that",
    two_inputs: "det.onnx: it has 2 inputs (x, b), expected one, an image",
    vectors: "det.onnx: its input x has the shape [-1, 16]",
    grey: "fixe",
}


@pytest.mark.parametrize("make", ONNX)
@pytest.mark.parametrize("command", ["groups", "prune", "predict"])
def test_an_onnx_file_that_is_not_pruned_is_a_line(command, make, tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(KERNEL["w"].tobytes())
    file = saved(folder / "det.onnx", make(folder))
    images = write_images(tmp_path / "images", 3)
    more = {"groups": [], "prune": ["--images", images], "predict": ["--images", images, "--out", tmp_path / "out"]}
    if (command, make) == ("predict", unsupported):
        pytest.skip("ONNX Runtime knows it")
    if (command, make) == ("predict", quantised):
        pytest.skip("quantised files are run")
    line = refused(capsys, command, file, *more[command])
    assert ONNX[make] in line
    assert not (tmp_path / "out/boxes.json").exists()


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garbled(file: Path) -> None:
    data = bytearray(file.read_bytes())
    # among a program's variables, whose names are shorter; the traces of calls that Paddle keeps may say anything
    start = 0 if file.suffix == ".onnx" else data.index(b"conv2d")
    data[start : start + 64] = bytes(range(64))
    file.write_bytes(bytes(data))


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, garbled, empty])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_a_line(kind, damage, tmp_path, capsys):
    model = source(tmp_path / "model", kind)
    file = {"onnx": model, "pir": model / "inference.json", "legacy": model / "inference.pdmodel"}[kind]
    damage(file)
    assert str(file) in refused(capsys, "groups", model)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_program_without_its_parameters_is_a_line(kind, tmp_path, capsys):
    model = source(tmp_path / "model", kind)
    weights_file = model / "inference.pdiparams"
    cut_short(weights_file)
    assert "inference.pdiparams: truncated" in refused(capsys, "groups", model)
    weights_file.unlink()
    assert "inference.pdiparams: not found" in refused(capsys, "groups", model)


def test_a_folder_with_several_models_is_a_line(tmp_path, capsys):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in "ab":
        onnx_file(folder / f"{name}.onnx")
    assert "models: holds 2 networks (a.onnx, b.onnx), expected one: name the file" in refused(capsys, "groups", folder)
    model = paddle_model(tmp_path / "paddle", FORMATS[-1])
    for file in list(model.iterdir()):
        for name in "ab":
            shutil.copy(file, folder / f"{name}{file.suffix}")
    assert "holds 2 networks (a.pd" in refused(capsys, "groups", folder)
    assert main(["groups", str(folder / "b.onnx"), "--task", "det"]) == 0, "the file is one"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_program_of_two_inputs_or_none_of_images_is_a_line(kind, tmp_path, capsys):
    from paddle.static import InputSpec

    class Two(paddle.nn.Conv2D):
        def forward(self, x, y):
            return super().forward(x) + super().forward(y)

    for name, network, shapes in (
        ("two", Two(3, 8, 3), [[None, 3, None, None]] * 2),
        ("vectors", paddle.nn.Linear(16, 4), [[None, 16]]),
    ):
        spec = [InputSpec(shape, "float32", f"x{place}") for place, shape in enumerate(shapes)]

        def save(network=network, spec=spec, name=name) -> None:
            made = paddle.jit.to_static(network, input_spec=spec, full_graph=True)
            paddle.jit.save(made, str(tmp_path / name / "inference"))

        if kind == "legacy":
            with paddle.pir_utils.DygraphOldIrGuard():
                save()
        else:
            save()
    assert "2 inputs" in refused(capsys, "groups", tmp_path / "two")
    assert "[-1, 16]" in refused(capsys, "groups", tmp_path / "vectors")


def test_a_model_of_one_size_is_pruned_at_that_size(tmp_path, capsys):
    model = onnx.load(onnx_file(tmp_path / "det.onnx"))
    for place, size in enumerate((1, 3, 64, 96)):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = size
    file, images = saved(tmp_path / "det.onnx", model), write_images(tmp_path / "images")
    out, exported = tmp_path / "out", tmp_path / "exported"
    words = ["--task", "det", "--images", str(images), "--json", "-o", SMALL, f"Global.save_model_dir={out}", *PRUNE]
    assert main(["prune", str(file), *words]) == 0
    before, after = json.loads(capsys.readouterr().out.splitlines()[-1])["macs"]
    assert after <= 0.8 * before
    assert main(["export", str(out / "best_accuracy"), "-o", f"Global.save_inference_dir={exported}"]) == 0
    sizes = onnx.load(exported / "det.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in sizes] == [1, 3, 64, 96]
    capsys.readouterr()
    predict = ["predict", file, "--images", images, "--out", tmp_path / "seen"]
    predict += ["-o", SMALL.replace("64", "32")]
    assert "fixed to [1, 3, 64, 96] (-1: free) and the images are [1, 3, 32, 96]: bring them" in refused(
        capsys, *predict
    )


def test_weights_that_are_gone_are_told_where_they_alone_tell_the_network(tmp_path, capsys):
    config = tmp_path / "det.yml"
    config.write_text(f"Global: {{pretrained_model: {tmp_path}/gone}}\nPostProcess: {{name: DBPostProcess}}\n")
    assert main(["groups", "-c", str(config)]) == 2
    assert f"Global.pretrained_model is {tmp_path}/gone, no exported model" in capsys.readouterr().err
