"""Programs from elsewhere: whole ones are run, and none that is damaged, or does more than compute a map."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import paddle
import pytest
from detection import DETECTION
from small_export import FORMATS, Tiny, export

from ocrslim.errors import WeightsError
from ocrslim.formats.programs.program_check import check_program, read_program
from ocrslim.inference.engines import InferenceEngine
from ocrslim.inference.exported import open_exported
from ocrslim.inference.first_load import check_first_load
from ocrslim.inference.predictor import ONEDNN, PLAIN
from ocrslim.models import read_weights

IMAGE = np.full((1, 3, 32, 64), 0.5, "float32")
needs_legacy = pytest.mark.skipif("legacy" not in FORMATS, reason="this paddlepaddle cannot write the legacy format")


@pytest.fixture(scope="module")
def model():
    paddle.seed(0)
    return Tiny()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> dict[str, Path]:
    """{format: folder}"""
    return {name: export(model, tmp_path_factory.mktemp(name), name == "legacy") for name in FORMATS}


@pytest.fixture
def copied(exported, tmp_path):
    """Copies an export of a format, for a test to damage; returns its program's path."""

    def copy(name: str) -> Path:
        shutil.copytree(exported[name], tmp_path / name)
        return tmp_path / name / ("inference.pdmodel" if name == "legacy" else "inference.json")

    return copy


def check_refused(program: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        check_program(program)
    message = str(caught.value)
    assert str(program) in message and "\n" not in message
    assert all(word in message for word in words), message


# Control


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_program_is_run(name, exported, model):
    engine = InferenceEngine(exported[name])
    np.testing.assert_allclose(engine(IMAGE), model(paddle.to_tensor(IMAGE)).numpy(), atol=1e-5)
    program = exported[name] / ("inference.pdmodel" if name == "legacy" else "inference.json")
    assert check_program(program) == (-1, 3, -1, -1)
    assert set(read_program(program).parameters().values()) == {(4, 3, 3, 3), (4,), (1, 4, 1, 1), (1,)}


def test_a_program_of_an_earlier_paddlepaddle_passes(repo):
    assert len(check_program(repo / "tests/legacy_model/inference.pdmodel")) == 4


# What reaches beyond the computation


def _change_legacy(program: Path, change) -> None:
    from paddle.base.proto import framework_pb2

    description = framework_pb2.ProgramDesc()
    description.ParseFromString(program.read_bytes())
    change(description)
    program.write_bytes(description.SerializePartialToString())


def _change_pir(program: Path, change) -> None:
    tree = json.loads(program.read_text())
    change(tree["program"]["regions"][0]["blocks"][0]["ops"])
    program.write_text(json.dumps(tree))


@needs_legacy
def test_a_program_that_writes_a_file_is_not_run(copied, tmp_path):
    """Paddle would: `save_combine` writes wherever the program says."""
    program, target = copied("legacy"), tmp_path / "written-by-the-model"

    def add_save(description):
        operations = description.blocks[0].ops
        save, fetch = operations.add(), operations[-2]
        save.CopyFrom(fetch)
        save.type = "save_combine"
        del save.outputs[:], save.attrs[:]
        save.attrs.add(name="file_path", type=2, s=str(target))
        for name, value in (("overwrite", True), ("save_as_fp16", False), ("save_to_memory", False)):
            save.attrs.add(name=name, type=6, b=value)
        last = type(fetch)()
        last.CopyFrom(fetch)
        operations[-2].CopyFrom(save)
        operations[-1].CopyFrom(last)

    _change_legacy(program, add_save)
    with pytest.raises(WeightsError, match=r"save_combine.*beyond the computation"):
        InferenceEngine(program.parent)
    assert not target.exists()


@pytest.mark.parametrize("kind", ["1.save_combine", "1.py_func", "1.run_program", "3.relu", "relu", "custom_op.relu"])
def test_an_operation_that_no_detector_computes_with_is_refused(kind, copied):
    program = copied("pir")
    _change_pir(program, lambda operations: operations[-3].update({"#": kind}))
    check_refused(program, kind, "beyond the computation")


# What is damaged


def _first(description, kind):
    return next(operation for operation in description.blocks[0].ops if operation.type == kind)


LEGACY = {
    "a value that nothing makes": (lambda d: _first(d, "hard_swish").inputs[0].arguments.__setitem__(0, "x1"), "x1"),
    "an argument that is missing": (lambda d: _first(d, "conv2d").inputs.pop(), "lacks its argument"),
    "an argument under another name": (
        lambda d: setattr(_first(d, "hard_swish").inputs[0], "parameter", "Y"),
        "does not take",
    ),
    "an argument too many": (
        lambda d: _first(d, "hard_swish").inputs[0].arguments.append("x"),
        "2 arguments for X, expected one",
    ),
    "an attribute of another type": (lambda d: _set_type(_first(d, "conv2d"), "groups", 2), "groups of type 2"),
    "an attribute without a value": (lambda d: _clear(_first(d, "conv2d"), "groups"), "without a value"),
    "an output that is not declared": (
        lambda d: _first(d, "hard_swish").outputs[0].arguments.__setitem__(0, "nowhere"),
        "not declared",
    ),
    "another block": (lambda d: d.blocks.add(idx=1, parent_idx=0), "2 blocks, expected one"),
    "a block inside itself": (lambda d: setattr(d.blocks[0], "parent_idx", 0), "number 0 in block 0"),
    "no block": (lambda d: d.ClearField("blocks"), "0 blocks"),
    "a variable twice": (lambda d: d.blocks[0].vars.append(d.blocks[0].vars[0]), "there twice"),
    "no input": (lambda d: d.blocks[0].ops.pop(0), "which nothing before it makes"),
    "no output": (lambda d: d.blocks[0].ops.pop(), "1 inputs and 0 outputs"),
    "the millionth output": (lambda d: setattr(_first(d, "fetch").attrs[0], "i", 1_000_000), "the numbers [1000000]"),
    "an enormous tensor": (lambda d: _dims(d).extend([1 << 30, 1 << 30]), "too large for any memory"),
    "a size beyond counting": (lambda d: _dims(d).append(1 << 62), "has the size"),
    "20 axes": (lambda d: _dims(d).extend([1] * 20), "axes, expected at most 9"),
}


def _set_type(operation, name, kind):
    next(attribute for attribute in operation.attrs if attribute.name == name).type = kind


def _clear(operation, name):
    next(attribute for attribute in operation.attrs if attribute.name == name).ClearField("i")


def _dims(description):
    variable = next(v for v in description.blocks[0].vars if v.type.type == 7 and not v.persistable)
    return variable.type.dense_tensor.tensor.dims


@needs_legacy
@pytest.mark.parametrize(("change", "says"), LEGACY.values(), ids=LEGACY)
def test_a_legacy_program_that_is_not_whole_is_refused(change, says, copied):
    program = copied("legacy")
    _change_legacy(program, change)
    check_refused(program, says)


def _conv(operations):
    return next(operation for operation in operations if operation["#"] == "1.conv2d")


def _input(operations: list[dict]) -> dict:
    return next(operation for operation in operations if operation["#"] == "1.data")


PIR = {
    "a value that nothing makes": (lambda ops: _conv(ops)["I"][0].update({"%": 999}), "the value 999, which nothing"),
    "a value twice": (lambda ops: _conv(ops)["O"][0].update({"%": 1}), "there already"),
    "text for a value": (lambda ops: _conv(ops)["I"][0].update({"%": "1"}), "the value 1, which nothing"),
    "arguments that are no list": (lambda ops: _conv(ops).update({"I": 3}), "a int for arguments"),
    "no arguments": (lambda ops: _conv(ops).pop("I"), "lacks 'I'"),
    "an attribute of another type": (lambda ops: _conv(ops)["A"][4]["AT"].update({"D": "2"}), "no 0.a_i32"),
    "a number beyond its type": (lambda ops: _conv(ops)["A"][4]["AT"].update({"D": 1 << 40}), "no 0.a_i32"),
    "an attribute twice": (lambda ops: _conv(ops)["A"].append(_conv(ops)["A"][0]), "twice"),
    "a type that is none": (lambda ops: _conv(ops)["O"][0]["TT"].update({"#": "0.t_x"}), "of type 0.t_x"),
    "numbers of another kind": (lambda ops: _conv(ops)["O"][0]["TT"]["D"][0].update({"#": "0.t_ptr"}), "ptr"),
    "an enormous tensor": (
        lambda ops: _conv(ops)["O"][0]["TT"]["D"].__setitem__(1, [1 << 30, 1 << 30]),
        "too large for any memory",
    ),
    "a size that is no number": (lambda ops: _conv(ops)["O"][0]["TT"]["D"].__setitem__(1, [None]), "the size None"),
    "no operations": (lambda ops: ops.clear(), "0 inputs and 0 outputs"),
    "an operation that is none": (lambda ops: ops.append(7), "lacks '#'"),
    "an input of no value": (lambda ops: _input(ops)["O"].clear(), "makes 0 values"),
}


@pytest.mark.parametrize(("change", "says"), PIR.values(), ids=PIR)
def test_a_pir_program_that_is_not_whole_is_refused(change, says, copied):
    program = copied("pir")
    _change_pir(program, change)
    check_refused(program, says)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"base_code": {"magic": "pir"}}',
        '{"base_code": 3}',
        "[" * 5000,
        '{"base_code": {"magic": 1e999}}',
    ],
)
def test_json_of_something_else_is_no_program(text, copied):
    program = copied("pir")
    program.write_text(text)
    check_refused(program, "not a Paddle program")
    with pytest.raises(WeightsError):
        read_weights(program.parent)


def test_a_program_of_millions_of_messages_is_counted_before_it_is_parsed(tmp_path):
    program = tmp_path / "inference.pdmodel"
    program.write_bytes(b"\x0a\x00" * 1_100_000)  # blocks, each empty
    check_refused(program, "more than 1,000,000 values")


def test_a_program_with_two_inputs_or_another_image_is_refused(model, tmp_path):
    class Two(paddle.nn.Layer):
        def forward(self, x, y):
            return x + y

    spec = [paddle.static.InputSpec([None, 3, None, None], "float32", name) for name in "xy"]
    paddle.jit.save(paddle.jit.to_static(Two(), input_spec=spec, full_graph=True), str(tmp_path / "inference"))
    check_refused(tmp_path / "inference.json", "2 inputs and 1 outputs")
    folder = tmp_path / "grey"
    spec = [paddle.static.InputSpec([None, 1, None, None], "float32", "x")]
    paddle.jit.save(
        paddle.jit.to_static(paddle.nn.Sigmoid(), input_spec=spec, full_graph=True), str(folder / "inference")
    )
    check_refused(folder / "inference.json", "[-1, 1, -1, -1]", "expected a float32 image")


def test_an_output_that_is_no_map_is_named(tmp_path):
    folder = export(Tiny(channels=2), tmp_path / "two", legacy=False)
    with pytest.raises(WeightsError, match=r"float32 \[1, 2, 32, 64\], expected float32 \[1, 1, 32, 64\]"):
        open_exported(folder, DETECTION)(IMAGE)


def test_weights_that_are_no_numbers_are_named_before_they_run(tmp_path):
    model = Tiny()
    model.conv.weight.set_value(np.full([4, 3, 3, 3], np.nan, "float32"))
    folder = export(model, tmp_path / "nan", legacy=False)
    with pytest.raises(WeightsError, match="108 NaN or infinite values of 108"):
        InferenceEngine(folder)


def test_flipped_bits_end_in_a_line_or_in_a_map(copied):
    """In one process of its own, in which a crash is seen; 7 of 24 ended in one before programs were checked."""
    folders = []
    for name in FORMATS:
        program = copied(name)
        for seed in range(24):
            rng, broken = random.Random(seed), bytearray(program.read_bytes())
            for _ in range(rng.choice([1, 1, 2, 4])):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            folder = program.parent.with_name(f"{name}{seed}")
            shutil.copytree(program.parent, folder)
            (folder / program.name).write_bytes(broken)
            folders.append(str(folder))
    code = """
        import sys
        import numpy as np
        from ocrslim.errors import OcrSlimError
        import ocrslim.inference.engines
        ocrslim.inference.engines.check_first_load = lambda *_: None
        for folder in sys.argv[1:]:
            try:
                ocrslim.inference.engines.InferenceEngine(folder)(np.zeros((1, 3, 32, 32), "f4"))
                print("map")
            except OcrSlimError as error:
                assert "\\n" not in str(error)
                print("line")
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *folders], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(run.stdout.split()) == len(folders) and set(run.stdout.split()) == {"line", "map"}


# The first load, in a process of its own


@pytest.mark.parametrize("kernels", [PLAIN, ONEDNN])
@pytest.mark.parametrize("name", FORMATS)
def test_a_model_that_runs_survives_its_first_load(name, kernels, exported):
    program = exported[name] / ("inference.pdmodel" if name == "legacy" else "inference.json")
    check_first_load(program, (-1, 3, -1, -1), kernels)


def test_a_crash_of_paddle_is_a_line(copied):
    """A parameter's flags under another name: no check of ours sees it, and Paddle ends with signal 11."""
    program = copied("pir")
    program.write_text(program.read_text().replace('"OA":[1,0,1]', '"GA":[1,0,1]', 1))
    check_program(program)
    with pytest.raises(WeightsError) as caught:
        InferenceEngine(program.parent)
    assert "\n" not in str(caught.value)
    assert f"{program}: Paddle ended with signal 11 (SIGSEGV) on it" in str(caught.value)


def test_a_model_that_never_ends_is_a_line(exported, monkeypatch):
    monkeypatch.setattr("ocrslim.inference.first_load.SECONDS", 0.01)
    with pytest.raises(WeightsError, match="did not finish"):
        InferenceEngine(exported["pir"])


def test_what_this_process_has_written_is_loaded_at_once(exported, monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr("ocrslim.inference.engines.check_first_load", fail)
    assert InferenceEngine(exported["pir"], own=True)(IMAGE).shape == (1, 1, 32, 64)
