"""Several formats from one command, each proven in its own runtime, or said not to be."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
import yaml
from oracle import randomise
from paddle import nn
from small_export import FORMATS, Tiny, needs_converter

from ocrslim.config import Config, load_config
from ocrslim.data import Prepared
from ocrslim.errors import ArtifactError, ExportError, WeightsError
from ocrslim.export import reference, verification
from ocrslim.export import source as source_module
from ocrslim.export.exporter import export
from ocrslim.export.formats import lite
from ocrslim.inference import PLAIN, DygraphEngine, InferenceEngine, OnnxEngine, engines
from ocrslim.utils import read_json

NATIVE = "paddle" if "legacy" in FORMATS else "pir"
LITE = Path(__file__).resolve().parents[2] / "build/deploy/lite/bin/python"


class Small(nn.Layer):
    """A detector of a few weights, whose map is neither empty nor full."""

    def __init__(self):
        super().__init__()
        self.body = Tiny()
        randomise(self.body)

    def forward(self, x):
        return {"maps": self.body(x)}


@pytest.fixture(scope="module")
def model() -> Small:
    paddle.seed(3)
    made = Small()
    made.eval()
    return made


@pytest.fixture(scope="module")
def sample() -> Prepared:
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype("float32")
    return Prepared(np.zeros((64, 96, 3), np.uint8), image, np.array([[64, 96, 1, 1]], np.float32))


@pytest.fixture
def configured(v2_config):
    def make(*options: str) -> Config:
        return load_config(v2_config, ["Global.use_gpu=false", *options])

    return make


@pytest.fixture
def formats(configured):
    def make(*names: str) -> Config:
        return configured(f"Export.formats=[{','.join(names)}]")

    return make


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@needs_converter
@pytest.mark.skipif(NATIVE == "pir", reason="this paddlepaddle does not write the legacy format")
def test_each_format_has_its_folder_settings_and_proof(model, sample, formats, tmp_path):
    made = export(model, formats("onnx", "pir", "paddle"), tmp_path / "m", sample, {"plan": None})
    assert [each.format for each in made.formats] == ["paddle", "onnx", "pir"] and not made.unverified
    models = {"paddle": "inference.pdmodel", "pir": "pir/inference.json", "onnx": "onnx/inference.onnx"}
    assert set(models.values()) < files(made.folder)
    summary = read_json(made.folder / "export.json", "")["formats"]
    for name, file in models.items():
        folder = (made.folder / file).parent
        assert yaml.safe_load((folder / "inference.yml").read_text())["PostProcess"]["unclip_ratio"] == 1.5
        proof = read_json(folder / "export.json", "")
        assert proof["format"] == name and proof["verified"] and max(proof["max_difference"].values()) < 1e-5
        assert proof["control_difference"] > 1e-3 and proof["same_items"][0] == proof["same_items"][1]
        assert summary[name]["max_difference"] == proof["max_difference"] and summary[name]["folder"] in (".", name)
    assert summary["onnx"]["opset"] == onnx.load(made.folder / "onnx/inference.onnx").opset_import[0].version == 11
    assert list(summary["onnx"]["max_difference"]) == ["ONNX Runtime"]


@needs_converter
def test_an_onnx_file_takes_any_batch_and_size(model, sample, formats, tmp_path):
    made = export(model, formats("onnx"), tmp_path / "m", sample, {})
    image = np.random.default_rng(1).standard_normal((3, 3, 32, 160)).astype("float32")
    found = OnnxEngine(made.folder / "onnx/inference.onnx")(image)
    np.testing.assert_allclose(found, DygraphEngine(model)(image), atol=1e-5)
    graph = onnx.load(made.folder / "onnx/inference.onnx").graph
    read = {name for node in graph.node for name in node.input}
    assert all(set(node.output) & read for node in graph.node if node.op_type == "Constant")  # ONNX Runtime warns of it
    assert not list(made.folder.glob("inference.*")), "the native format was not asked for"


def test_a_pir_folder_keeps_paddleocr_2_from_downloading_into_it(model, sample, formats, tmp_path):
    """It looks for `inference.pdmodel` and, without it, overwrites the parameters with those of another model."""
    made = export(model, formats("pir"), tmp_path / "m", sample, {})
    folder = made.formats[0].folder
    assert (folder / "inference.pdmodel").read_bytes() == b""
    np.testing.assert_allclose(InferenceEngine(folder)(sample.image), DygraphEngine(model)(sample.image), atol=1e-6)
    assert made.formats[0].bytes > (folder / "inference.json").stat().st_size


def test_paddleocr_2_does_not_download_into_a_pir_folder(model, sample, formats, tmp_path, monkeypatch):
    """Its own code, with a stand-in for the download; the control is the same folder without the empty file."""
    spec = importlib.util.find_spec("paddleocr")
    loaded = importlib.util.spec_from_file_location("network", Path(spec.origin).parent / "ppocr/utils/network.py")
    network = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(network)
    monkeypatch.setattr(network, "download_with_progressbar", lambda *_: pytest.fail("a download"))
    folder = export(model, formats("pir"), tmp_path / "m", sample, {}).formats[0].folder
    network.maybe_download(str(folder), "https://example.org/model.tar")
    (folder / "inference.pdmodel").unlink()
    with pytest.raises(pytest.fail.Exception, match="a download"):
        network.maybe_download(str(folder), "https://example.org/model.tar")


@needs_converter
def test_by_default_it_is_the_native_format_and_onnx(model, sample, configured, tmp_path, caplog):
    with caplog.at_level("INFO"):
        made = export(model, configured(), tmp_path / "m", sample, {})
    assert [each.format for each in made.formats] == [NATIVE, "onnx"]
    assert f"formats: {NATIVE}, onnx" in caplog.messages


def test_without_the_converter_the_default_is_less_and_says_so(
    model, sample, configured, formats, tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        made = export(model, configured(), tmp_path / "m", sample, {})
    assert [each.format for each in made.formats] == [NATIVE]
    install = "pip install --no-deps paddle2onnx==2.1.0"
    assert any(line.endswith(f"no onnx, as paddle2onnx is not installed: {install}") for line in caplog.messages)
    with pytest.raises(ExportError, match=rf"^Export\.formats: onnx: paddle2onnx is not installed: {install}$"):
        export(model, formats("onnx"), tmp_path / "other", sample, {})
    assert not (tmp_path / "other").exists()


@needs_converter
def test_a_format_whose_runtime_is_missing_is_written_and_said_to_be_unverified(
    model, sample, formats, tmp_path, monkeypatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    made = export(model, formats(NATIVE, "onnx"), tmp_path / "m", sample, {})
    assert made.unverified == {"onnx": "ONNX Runtime is not installed: pip install onnxruntime"}
    proof = read_json(made.folder / "onnx/export.json", "")
    assert proof["verified"] is False and "max_difference" not in proof
    assert read_json(made.folder / "export.json", "")["verified"] is True


def refuse(*_, **__):
    raise RuntimeError("no threads")


class Broken:
    """A package that is found, and a library of which is not."""

    def __getattr__(self, name):
        raise ImportError("libone.so: cannot open shared object file")


@needs_converter
@pytest.mark.parametrize(
    ("put", "cause"),
    [
        (lambda patch: patch.setattr("onnxruntime.InferenceSession", refuse), "no threads"),
        (
            lambda patch: patch.setitem(sys.modules, "onnxruntime", Broken()),
            "libone.so: cannot open shared object file",
        ),
    ],
    ids=["session", "import"],
)
def test_a_format_whose_runtime_does_not_start_is_written_and_said_to_be_unverified(
    put, cause, model, sample, formats, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    put(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    made = export(model, formats(NATIVE, "onnx"), tmp_path / "m", sample, {})
    says = f"ONNX Runtime is installed and does not start ({cause}): try "
    assert made.unverified == {"onnx": f"{says}pip install --force-reinstall --no-deps onnxruntime"}
    assert read_json(made.folder / "onnx/export.json", "")["verified"] is False
    assert (made.folder / "onnx/inference.onnx").is_file() and max(made.differences.values()) < 1e-5


def test_where_paddle_inference_does_not_start_its_format_is_written_and_unverified(
    model, sample, formats, tmp_path, monkeypatch
):
    monkeypatch.setattr(engines, "open_predictor", refuse)
    made = export(model, formats(NATIVE), tmp_path / "m", sample, {})
    says = "Paddle Inference is installed and does not start (no threads): try pip install --force-reinstall --no-deps"
    assert made.unverified == {NATIVE: f"{says} paddlepaddle"}
    assert read_json(made.folder / "export.json", "")["verified"] is False


def test_a_file_that_paddle_inference_does_not_take_fails_the_export(model, sample, formats, tmp_path, monkeypatch):
    """The control: it starts, so that it is the file's fault."""
    opened = engines.open_predictor

    def refuse_this(library, config, *rest):
        if Path(config.prog_file()).stem == "inference":
            refuse()
        return opened(library, config, *rest)

    monkeypatch.setattr(engines, "open_predictor", refuse_this)
    with pytest.raises(WeightsError, match="Paddle Inference cannot load it .no threads."):
        export(model, formats(NATIVE), tmp_path / "m", sample, {})
    assert not list(tmp_path.iterdir())


@needs_converter
def test_a_file_that_the_runtime_does_not_take_fails_the_export(model, sample, formats, tmp_path, monkeypatch):
    """The control: the runtime starts, so that it is the file's fault."""
    pytest.importorskip("onnxruntime")
    convert = source_module.write_onnx

    def damage(program, target, *named):
        convert(program, target, *named)
        spoilt = onnx.load(target)
        spoilt.graph.node[0].op_type = "NoSuchOperator"
        onnx.save(spoilt, target)

    monkeypatch.setattr(source_module, "write_onnx", damage)
    with pytest.raises(WeightsError, match="onnx/inference.onnx: ONNX Runtime cannot load it: .*NoSuchOperator"):
        export(model, formats("onnx"), tmp_path / "m", sample, {})
    assert not list(tmp_path.iterdir())


@needs_converter
def test_an_onnx_file_with_other_weights_fails_the_export_and_the_layer_is_named(
    model, sample, formats, tmp_path, monkeypatch
):
    """A converter that spoils one layer, over a former export, which stays."""
    made = export(model, formats(NATIVE, "onnx"), tmp_path / "m", sample, {})
    before, convert = content(made.folder), source_module.write_onnx

    def spoil(program, target, *named):
        convert(program, target, *named)
        spoilt = onnx.load(target)
        name = [node for node in spoilt.graph.node if node.op_type == "Conv"][-1].input[1]
        holders = [t for t in spoilt.graph.initializer if t.name == name]
        holders += [n.attribute[0].t for n in spoilt.graph.node if n.op_type == "Constant" and name in n.output]
        values = np.array(onnx.numpy_helper.to_array(holders[0])) * 1.05
        holders[0].CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), name))
        onnx.save(spoilt, target)

    monkeypatch.setattr(source_module, "write_onnx", spoil)
    with pytest.raises(ExportError, match=r"^m/onnx: .* differs from the source .*, from the layer body_last on: "):
        export(model, formats(NATIVE, "onnx"), made.folder, sample, {})
    assert content(made.folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_sample_on_which_any_network_gives_the_same_proves_nothing(sample, formats, tmp_path):
    dead = Small()
    for tensor in dead.parameters():
        tensor.set_value(tensor * 0)
    dead.eval()
    made = export(dead, formats(NATIVE), tmp_path / "m", sample, {})
    assert "proves nothing: name another with -o Global.infer_img=FILE" in made.unverified[NATIVE]


class Nothing(nn.Layer):
    """Finds nothing in any image, and is certain of it: only a network with hardly any weights gives something else."""

    def __init__(self, certain_of=-60.0):
        super().__init__()
        self.last = nn.Conv2D(3, 1, 1)
        self.last.weight.set_value(self.last.weight * 0 + 0.01)
        self.last.bias.set_value(self.last.bias * 0 + certain_of)

    def forward(self, x):
        return {"maps": nn.functional.sigmoid(self.last(x))}


def test_an_image_in_which_the_network_finds_nothing_proves_nothing(sample, formats, tmp_path):
    network = Nothing()
    network.eval()
    made = export(network, formats(NATIVE), tmp_path / "m", sample, {})
    assert "proves nothing: name another with -o Global.infer_img=FILE" in made.unverified[NATIVE]


def test_a_network_that_is_certain_of_all_but_one_pixel_is_told_from_one_with_hardly_any_weights(
    sample, formats, tmp_path
):
    network, image = Nothing(), sample.image.copy()
    network.eval()
    image[0, :, 5, 5] = 4000.0  # 60 above what it is certain of
    made = export(network, formats(NATIVE), tmp_path / "m", replace(sample, image=image), {})
    assert not made.unverified and made.formats[0].proof.control > 0.1


def test_the_control_leaves_the_network_as_it_was(model, sample, formats, tmp_path):
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    export(model, formats(NATIVE), tmp_path / "m", sample, {})
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def test_other_boxes_fail_the_export(model, sample, formats, monkeypatch):
    """The control of the second comparison: maps that agree, and a decoder that does not see them so."""
    seen = []

    def decode(output, shape):
        seen.append(output)
        return [np.full((4, 2), 16.0 if len(seen) == 2 else 8.0)]  # the second is the export's

    monkeypatch.setattr(verification, "post_processor", lambda _: decode)
    verifier = verification.Verifier(model, formats(NATIVE), sample)
    engine = type("Engine", (), {"kernels": PLAIN, "__call__": lambda _, image: DygraphEngine(model)(image)})
    with pytest.raises(ExportError, match="of 1 found in the source's output on the sample image, the export's has 0"):
        verifier.proof(iter([engine()]), "m", Path())


def test_files_beside_an_export_survive_the_next_one(model, sample, formats, tmp_path):
    made = export(model, formats(NATIVE), tmp_path / "m", sample, {"plan": "one"})
    (made.folder / "notes.txt").write_text("mine")
    (made.folder / "pictures").mkdir()
    (made.folder / "pictures/a.png").write_bytes(b"a")
    export(model, formats(NATIVE), made.folder, sample, {"plan": "two"})
    assert (made.folder / "notes.txt").read_text() == "mine" and (made.folder / "pictures/a.png").is_file()
    assert read_json(made.folder / "export.json", "")["plan"] == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@needs_converter
def test_formats_of_a_former_export_do_not_outlive_it(model, sample, formats, tmp_path):
    """They would be of other weights; what somebody put beside them stays."""
    made = export(model, formats(NATIVE, "onnx"), tmp_path / "m", sample, {})
    (made.folder / "onnx/notes.txt").write_text("mine")
    export(model, formats(NATIVE), made.folder, sample, {})
    assert {name for name in files(made.folder) if name.startswith("onnx")} == {"onnx/notes.txt"}


def test_a_folder_called_after_a_format_that_is_none_of_an_export_is_not_touched(model, sample, formats, tmp_path):
    (tmp_path / "m/onnx").mkdir(parents=True)
    (tmp_path / "m/onnx/inference.onnx").write_bytes(b"precious")
    with pytest.raises(ArtifactError, match=r"holds other files \(onnx\)"):
        export(model, formats(NATIVE), tmp_path / "m", sample, {})
    assert (tmp_path / "m/onnx/inference.onnx").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("python", "says"),
    [
        (None, "Export.lite_python names no Python with Paddle Lite: run `make setup-lite`"),
        (
            "nowhere/python",
            "Export.lite_python: nowhere/python cannot be started (No such file or directory): run `make",
        ),
        (
            sys.executable,
            "has no Paddle Lite (ModuleNotFoundError: No module named 'paddlelite'): run `make setup-lite`",
        ),
    ],
    ids=["none", "missing", "without"],
)
def test_lite_needs_an_interpreter_that_has_it(python, says, model, sample, configured, tmp_path):
    options = ["Export.formats=[lite]", *([f"Export.lite_python={python}"] if python else [])]
    with pytest.raises(ExportError) as caught:
        export(model, configured(*options), tmp_path / "m", sample, {})
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not LITE.is_file(), reason="not installed (make setup-lite): build/deploy/lite/bin/python")
def test_lite_is_proven_by_its_twin_for_this_processor(model, sample, configured, tmp_path):
    made = export(model, configured("Export.formats=[lite]", f"Export.lite_python={LITE}"), tmp_path / "m", sample, {})
    assert list(made.differences) == ["paddle_lite_x86"] and made.differences["paddle_lite_x86"] < 1e-5
    assert (
        made.folder / "lite" == made.formats[0].folder
        and made.bytes == (made.folder / "lite/inference.nb").stat().st_size
    )


@pytest.mark.skipif(not LITE.is_file(), reason="not installed (make setup-lite): build/deploy/lite/bin/python")
def test_where_the_twin_does_not_run_the_format_is_unverified(model, sample, configured, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "_RUN", tmp_path / "missing.py")
    made = export(model, configured("Export.formats=[lite]", f"Export.lite_python={LITE}"), tmp_path / "m", sample, {})
    assert made.unverified["lite"].startswith("Paddle Lite for x86 fails on this network (")


def test_the_proof_is_the_same_with_each_run(model, sample, formats, tmp_path):
    one, two = (export(model, formats(NATIVE), tmp_path / name / "m", sample, {}).folder for name in "ab")
    first, second = (json.loads((folder / "export.json").read_text()) for folder in (one, two))
    assert {**first, "clients": None} == {**second, "clients": None}


def test_a_network_that_is_certain_of_its_answer_is_told_from_others_far_off(sample, formats, tmp_path):
    certain = Small()
    certain.eval()
    verifier = verification.Verifier(certain, formats(NATIVE), sample)
    near, far = (np.full((1, 1, 4, 4), value, np.float32) for value in (0.0, 1.0))
    one, two, three = reference._CONTROLS
    verifier._source._controls.update({one: near, two: far})
    assert verifier._source.control(near, 1e-4) == 1.0
    verifier._source._controls.update({two: near, three: near})
    assert verifier._source.control(near, 1e-4) == 0.0
