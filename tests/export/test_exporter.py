"""An export computes what its source computes, or it does not come into being."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import yaml
from branches import deploying
from detection import DETECTION
from paddle import nn

from ocrslim.config.config import load_config
from ocrslim.data.preprocess import Prepared, Preprocessor
from ocrslim.errors import ArtifactError, ExportError, WeightsError
from ocrslim.evaluation import post_processor
from ocrslim.export import reference, verification
from ocrslim.export import source as source_module
from ocrslim.export.exporter import export
from ocrslim.export.formats.paddle import LEGACY, MODELS, PIR
from ocrslim.export.staging import FILES
from ocrslim.formats.weights.exported import exported_files
from ocrslim.formats.weights.reader import read_weight_file
from ocrslim.inference import engines
from ocrslim.inference.engines import (
    ONEDNN,
    ONEDNN_FUSED,
    PLAIN,
    DygraphEngine,
    InferenceEngine,
)
from ocrslim.inference.exported import open_exported
from ocrslim.pruning.loading import load_network
from ocrslim.utils.files import read_json

# what an export comes out as: Paddle writes the legacy format up to 3.1
FORMAT = LEGACY if paddle.__version__.startswith("3.1.") else PIR
MODEL = MODELS[FORMAT]


@pytest.fixture(autouse=True, scope="module")
def only_paddle():
    """No ONNX by default; tests/export/test_formats.py has the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_module, "onnx_lacks", lambda: "it is not tested here")
        yield


@pytest.fixture(scope="module")
def config(v2_config, pp_ocrv2):
    return load_config(
        v2_config,
        [
            f"Global.pretrain_weights={pp_ocrv2}",
            "Global.use_gpu=false",
            "Eval.dataset.transforms.DetResizeForTest={limit_side_len: 960, limit_type: max}",
        ],
    )


@pytest.fixture(scope="module")
def plain(config):
    """Exports the network as it is."""
    tree = {**config.tree, "Export": {**config.tree["Export"], "rewrite": False}}
    return dataclasses.replace(config, tree=tree)


@pytest.fixture(scope="module")
def source(config):
    return load_network(config).model


@pytest.fixture(scope="module")
def sample(config, page):
    return Preprocessor(config)(page)


@pytest.fixture(scope="module")
def image(sample):
    return sample.image


@pytest.fixture(scope="module")
def exported(source, config, sample, tmp_path_factory):
    return export(source, config, tmp_path_factory.mktemp("e") / "inference", sample, {"plan": None})


@pytest.fixture
def no_legacy(monkeypatch):
    """A paddlepaddle that fails amid writing the legacy format, as 3.2 and 3.3 do before they begin."""
    save = paddle.jit.save

    def refuse(layer, path):
        if not paddle.framework.use_pir_api():
            Path(f"{path}.pdmodel").write_bytes(b"half")
            raise TypeError("sigmoid(): argument (position 1) must be Value, but got Variable")
        save(layer, path)

    monkeypatch.setattr(paddle.jit, "save", refuse)


@pytest.fixture(scope="module")
def pir(source, config, sample, tmp_path_factory):
    """An export in the PIR format."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(paddle.pir_utils, "DygraphOldIrGuard")
        return export(source, config, tmp_path_factory.mktemp("p") / "inference", sample, {"plan": None})


def _names(folder):
    return {p.name for p in folder.iterdir()}


def _copy(folder, target, **changed):
    """Copy the files of `folder` to `target`, those in `changed` with that content."""
    for path in folder.iterdir():
        (target / path.name).write_bytes(changed.get(path.name, path.read_bytes()))


def refuse_all(monkeypatch) -> None:
    for name in ("TOLERANCE", "LIMIT"):
        monkeypatch.setattr(verification, name, -1.0)


def verify(model, config, folder, sample):
    """The differences of an export to `model`."""
    engines_of_paddle = (InferenceEngine(folder, onednn=onednn, own=True) for onednn in (False, True))
    return verification.Verifier(model, config, sample).proof(engines_of_paddle, folder.name, folder).differences


def test_the_folder_holds_model_settings_and_proof(exported, config):
    names = _names(exported.folder)
    assert {MODEL, "inference.pdiparams", "inference.yml", "export.json"} <= names <= set(FILES)
    settings = yaml.safe_load((exported.folder / "inference.yml").read_text())
    assert settings["PostProcess"]["thresh"] == config.get("PostProcess.thresh")
    assert any("NormalizeImage" in op for op in settings["PreProcess"]["transform_ops"])
    proof = read_json(exported.folder / "export.json", "")
    assert proof["max_difference"] == exported.differences and max(exported.differences.values()) < 1e-4
    assert proof["config"] == config.tree
    assert proof["format"] == exported.format == FORMAT and proof["paddlepaddle"] == paddle.__version__
    assert [p.name for p in exported.folder.parent.iterdir()] == ["inference"], "nothing is left beside it"


def test_one_export_takes_any_size_and_batch(exported, source):
    image = np.random.default_rng(0).standard_normal((2, 3, 96, 160)).astype("float32")
    found = InferenceEngine(exported.folder)(image)
    np.testing.assert_allclose(found, DygraphEngine(source)(image), atol=1e-5)


@pytest.mark.skipif(FORMAT == PIR, reason="this paddlepaddle does not write the legacy format")
def test_biases_of_transposed_convolutions_are_added_as_paddle_inference_fuses_them(plain, source, sample, tmp_path):
    """As vectors along the channels: reshaped, they and the batch norm behind them stay layers of their own."""
    exported = export(source, plain, tmp_path / "inference", sample, {})
    paddle.enable_static()
    try:
        with paddle.pir_utils.OldIrGuard():
            program = paddle.base.framework.Program.parse_from_string((exported.folder / MODEL).read_bytes())
            block = program.global_block()
            upsampled = [op.output("Output")[0] for op in block.ops if op.type == "conv2d_transpose"]
            readers = [op for op in block.ops if set(op.input_arg_names) & set(upsampled)]
            biases = [block.var(op.input("Y")[0]) for op in readers]
            assert [op.type for op in readers] == ["elementwise_add"] * 2
            assert [op.attr("axis") for op in readers] == [1, 1]
            assert all(bias.persistable and len(bias.shape) == 1 for bias in biases)
    finally:
        paddle.disable_static()


def test_the_source_is_as_it_was(exported, source, image):
    assert not source.training
    assert source.forward.__func__ is type(source).forward


def test_other_weights_fail_the_check(exported, config, sample):
    """The control: a network that differs in one layer is told from the exported one, and the layer is named."""
    other = load_network(config).model
    weight = other.head.binarize.conv1.weight
    weight.set_value(weight * 1.01)
    says = r"differs from the source by .*, from the layer head_binarize_conv1(_2|_3)? on: .* check the version"
    with pytest.raises(ExportError, match=says):
        verify(other, config, exported.folder, sample)


def test_an_export_that_rounds_less_than_its_source_is_no_faulty_one(config, sample, tmp_path, caplog):
    """One large number is taken off another, and what was small is lost; folded into one number it is not."""
    unsettled = load_network(config).model
    head = unsettled.head.binarize
    for tensor in (head.conv2.bias, head.conv_bn2._mean):
        tensor.set_value(tensor + 3e4)
    made = export(unsettled, config, tmp_path / "inference", sample, {})
    assert not made.unverified and max(made.differences.values()) > 1e-3
    assert "from what double precision gives, the source itself is off by" in caplog.text
    assert "run it without oneDNN" not in caplog.text


@pytest.mark.parametrize(
    ("off", "moves", "refused"),
    [
        (1.5e-4, 2e-5, None),
        (1.5e-4, 2e-6, "differs from the source by 1.50e-04, .* check the version"),
        (5e-3, 1e-3, "differs from the source by 5.00e-03, .* the source itself moves by .*: train it for longer"),
    ],
)
def test_what_rounding_makes_of_the_source_is_accepted_of_its_export(
    off, moves, refused, exported, source, config, sample, monkeypatch, caplog
):
    """The export is off by `off`, the source by `moves` when its input is rounded."""

    def run(seen):
        return np.full((1, 1), 0.5 + (0 if np.array_equal(seen, sample.image) else moves))

    for module in (reference, verification):
        monkeypatch.setattr(module, "DygraphEngine", lambda _: run)
    monkeypatch.setattr(verification, "post_processor", lambda _: lambda output, shape: [])
    engine = type("Engine", (), {"kernels": "paddle_inference", "__call__": lambda _, seen: np.full((1, 1), 0.5 + off)})
    verifier = verification.Verifier(source, config, sample)
    if refused is None:
        verifier.proof(iter([engine()]), "inference", exported.folder)
        assert "which is rounding: the source itself moves by 2.00e-05" in caplog.text
    else:
        with pytest.raises(ExportError, match=refused):
            verifier.proof(iter([engine()]), "inference", exported.folder)


class Rounding(nn.Layer):
    """Adds 4096 to a map of 0.3001 and takes it away again: in single precision 0.3003, off by 1.9e-4."""

    def __init__(self):
        super().__init__()
        self.large = self.create_parameter([1], default_initializer=nn.initializer.Constant(4096))
        self.small = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.3001))

    def forward(self, x):
        return {"maps": x[:, :1] * 0 + self.small + self.large - self.large}


@pytest.mark.parametrize(("value", "accepted"), [(0.3001, True), (0.3004, False), (0.2995, False)])
def test_an_export_that_is_nearer_than_its_source_to_double_precision_is_accepted(
    value, accepted, exported, config, sample, monkeypatch, caplog
):
    """The source's rounding is always the same, so that its input's last bits do not show it."""
    monkeypatch.setattr(verification, "post_processor", lambda _: lambda output, shape: [])
    monkeypatch.setattr(verification, "Rewriter", lambda model, _: SimpleNamespace(network=lambda _: model))
    monkeypatch.setattr(verification, "where_it_starts", lambda *_: "")
    source = Rounding()
    before = source.state_dict()["small"].numpy()

    def run(_, seen):
        return np.full((len(seen), 1, *seen.shape[2:]), value, np.float32)

    verifier = verification.Verifier(source, config, sample)
    engine = type("Engine", (), {"kernels": PLAIN, "__call__": run})()
    if accepted:
        proof = verifier.proof(iter([engine]), "inference", exported.folder)
        assert proof.differences[PLAIN] == pytest.approx(1.9e-4, abs=1e-5) and proof.control > proof.tolerance
        assert "from what double precision gives, the source itself is off by" in caplog.text
    else:
        with pytest.raises(ExportError, match=r"differs from the source by .*e-04, expected at most 0.0001"):
            verifier.proof(iter([engine]), "inference", exported.folder)
    after = source.state_dict()["small"]
    assert after.dtype == paddle.float32 and after.numpy() == before


def test_a_failed_export_leaves_the_former_one(exported, source, config, sample, monkeypatch):
    before = {p.name: p.read_bytes() for p in exported.folder.iterdir()}
    refuse_all(monkeypatch)
    with pytest.raises(ExportError):
        export(source, config, exported.folder, sample, {})
    assert {p.name: p.read_bytes() for p in exported.folder.iterdir()} == before
    assert [p.name for p in exported.folder.parent.iterdir()] == ["inference"]


def test_exporting_again_replaces_the_folder(exported, source, config, sample):
    again = export(source, config, exported.folder, sample, {"plan": "another"})
    assert read_json(again.folder / "export.json", "")["plan"] == "another"
    verify(source, config, again.folder, sample)


def test_a_kill_between_the_two_moves_loses_no_export(source, config, sample, tmp_path, monkeypatch):
    former = tmp_path / ".inference.abcd1234.old"
    former.mkdir()
    (former / MODEL).write_bytes(b"precious")
    refuse_all(monkeypatch)
    with pytest.raises(ExportError):
        export(source, config, tmp_path / "inference", sample, {})
    assert (tmp_path / "inference" / MODEL).read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["inference"]


def test_a_link_stays_a_link(source, config, sample, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    export(source, config, tmp_path / "link", sample, {})
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / MODEL).is_file()


def test_a_folder_with_other_files_is_refused(tmp_path, source, config, sample):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"thesis\.tex"):
        export(source, config, tmp_path, sample, {})
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("circle", "circle: is a link in a circle of links: choose", id="circle of links"),
        pytest.param("circle/inner", "circle is a link that leads nowhere: remove it", id="below a circle"),
        pytest.param("file", "file: is not a folder: choose", id="file"),
        pytest.param("link", "file: is not a folder: choose", id="link to a file"),
        pytest.param("pipe", "pipe: is not a folder: choose", id="pipe"),
        pytest.param("file/inner", "a file stands where the folder should be", id="below a file"),
        pytest.param("a\0b", "contains a NUL character, which paths cannot", id="NUL"),
        pytest.param("x" * 300, "too long", id="long"),
    ],
)
def test_what_cannot_be_the_folder_of_an_export_is_told_before_any_work(tmp_path, name, says):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ArtifactError, match=says) as caught:
        export(None, None, tmp_path / name, None, {})
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_unfinished_exports_are_swept_by_their_own_name_alone(config, sample, tmp_path, monkeypatch):
    """A name may hold what is a pattern to others."""
    for name in (".run[1].abcd_123", ".run1.abcd_123"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(source_module, "save_inference", lambda *_: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception):
        export(nn.Linear(1, 1), config, tmp_path / "run[1]", sample, {})
    assert [path.name for path in tmp_path.iterdir()] == [".run1.abcd_123"]


def test_paddleocrs_text_detector_finds_the_boxes_of_the_source(exported, source, config, page):
    """The client most users have, from the installed package, with its own pre- and post-processing."""
    import cv2
    from tools.infer.predict_det import TextDetector
    from tools.infer.utility import init_args

    import ocrslim.ppocr  # noqa: F401  puts `tools` on the path

    arguments = init_args().parse_args(
        ["--det_model_dir", str(exported.folder), "--use_gpu", "False", "--det_db_unclip_ratio", "1.5"]
    )
    if exported.format == PIR:  # what the line about the format says of PaddleOCR 2
        with pytest.raises(ValueError, match="memory_optimize_pass"):
            TextDetector(arguments)
        return
    found, _ = TextDetector(arguments)(cv2.imread(str(page)))
    prepared = Preprocessor(config)(page)
    expected = post_processor(config)(DygraphEngine(source)(prepared.image), prepared.shape)
    assert len(found) == len(expected) > 2

    def centres(boxes):
        return np.array(sorted(np.mean(box, axis=0).tolist() for box in boxes))

    np.testing.assert_allclose(centres(found), centres(expected), atol=1.0)


@pytest.mark.parametrize(
    ("name", "content"),
    [(MODEL, b"rubbish"), (MODEL, b""), ("inference.pdiparams", b"")],
    ids=["damaged model", "empty model", "truncated parameters"],
)
def test_a_damaged_export_is_refused_by_name(exported, tmp_path, name, content):
    _copy(exported.folder, tmp_path, **{name: content})
    with pytest.raises(WeightsError, match=r"inference\.(pd|json)"):
        InferenceEngine(tmp_path)


def _without_operations(tree):
    operations = tree["program"]["regions"][0]["blocks"][0]["ops"]
    operations[:] = [operation for operation in operations if operation["#"] == "p"]


def _without_one_operation(tree):
    del tree["program"]["regions"][0]["blocks"][0]["ops"][300]


def _without_output(tree):
    del tree["program"]["regions"][0]["blocks"][0]["ops"][-1]


def _with_an_unknown_operator(tree):
    tree["program"]["regions"][0]["blocks"][0]["ops"][300]["#"] = "1.nonsense"


def _without_header(tree):
    del tree["base_code"]


@pytest.mark.parametrize(
    "damage",
    [_without_operations, _without_one_operation, _without_output, _with_an_unknown_operator, _without_header],
)
def test_a_damaged_pir_program_is_refused_by_name(damage, pir, image, tmp_path):
    """Its weights are as described: it is the program that is checked, before Paddle sees it."""
    tree = json.loads((pir.folder / "inference.json").read_text())
    damage(tree)
    _copy(pir.folder, tmp_path, **{"inference.json": json.dumps(tree).encode()})
    with pytest.raises(WeightsError, match=r"inference\.json: not a (Paddle )?program"):
        InferenceEngine(tmp_path)(image)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_pir_program_is_refused_by_name(share, pir, tmp_path):
    data = (pir.folder / "inference.json").read_bytes()
    _copy(pir.folder, tmp_path, **{"inference.json": data[: int(len(data) * share)]})
    with pytest.raises(WeightsError, match=r"inference\.json: .*truncated"):
        InferenceEngine(tmp_path)


def test_where_the_legacy_format_cannot_be_written_it_is_pir_and_said_in_a_line(
    source, plain, image, sample, tmp_path, no_legacy, caplog
):
    """Over a former legacy export: a folder with both models would be ambiguous to every client."""
    folder = tmp_path / "inference"
    folder.mkdir()
    for name in ("inference.pdmodel", "inference.pdiparams", "export.json"):
        (folder / name).write_bytes(b"former")
    with caplog.at_level(logging.WARNING):
        exported = export(source, plain, folder, sample, {})
    assert _names(folder) == {"inference.json", "inference.pdiparams", "inference.yml", "export.json", MODELS[LEGACY]}
    assert not (folder / MODELS[LEGACY]).stat().st_size, "it only keeps PaddleOCR 2 from downloading another"
    assert exported.format == read_json(folder / "export.json", "")["format"] == PIR
    assert exported.bytes == sum((folder / name).stat().st_size for name in ("inference.json", "inference.pdiparams"))
    (line,) = (r.getMessage() for r in caplog.records if "legacy" in r.getMessage())
    assert "\n" not in line and paddle.__version__ in line and "inference.json" in line
    assert exported_files(folder)[0].name == "inference.json"
    arrays, expected = read_weight_file(folder).arrays, source.state_dict()
    assert any(np.array_equal(a, expected["neck.p2_conv.weight"].numpy()) for a in arrays.values())
    np.testing.assert_allclose(InferenceEngine(folder)(image), DygraphEngine(source)(image), atol=1e-6)


def test_a_network_that_no_format_takes_is_not_exported(source, config, sample, tmp_path, monkeypatch):
    """The control: falling back hides no error."""

    def refuse(*_):
        raise TypeError("no such operator")

    monkeypatch.setattr(paddle.jit, "save", refuse)
    with pytest.raises(TypeError, match="no such operator"):
        export(source, config, tmp_path / "inference", sample, {})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def failing(monkeypatch):
    """Kernels that Paddle loads and fails to run, as it does oneDNN's on PIR in 3.3.1."""
    kernels, run = [], InferenceEngine._run

    def run_or_fail(self, image):
        if self.kernels in kernels:
            raise NotImplementedError("ConvertPirAttribute2RuntimeAttribute not support")
        return run(self, image)

    monkeypatch.setattr(InferenceEngine, "_run", run_or_fail)
    engines._say_once.cache_clear()
    return kernels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "takes"), [([ONEDNN], ONEDNN_FUSED), ([ONEDNN, ONEDNN_FUSED], PLAIN)], ids=["partly", "not at all"]
)
def test_where_onednn_does_not_run_others_do_and_that_is_said_once(fail, takes, pir, source, image, failing, caplog):
    failing += fail
    for _ in range(2):
        engine = InferenceEngine(pir.folder, onednn=True)
        with caplog.at_level(logging.WARNING):
            np.testing.assert_allclose(engine(image), DygraphEngine(source)(image), atol=1e-4)
        assert engine.kernels == takes
    assert len(caplog.records) == len(fail)
    assert caplog.records[-1].getMessage().endswith(f"{takes} runs instead, slower and as exact")


def test_the_proof_names_the_kernels_that_ran(pir, source, config, sample, failing):
    failing.append(ONEDNN)
    assert set(verify(source, config, pir.folder, sample)) == {PLAIN, ONEDNN_FUSED}
    failing.append(ONEDNN_FUSED)
    assert set(verify(source, config, pir.folder, sample)) == {PLAIN}


def test_the_proof_has_onednn_where_it_runs(exported):
    runs = paddle.__version__ != "3.3.1"
    assert set(exported.differences) == {PLAIN, ONEDNN if runs else ONEDNN_FUSED}


def test_an_image_the_model_does_not_take_is_refused_with_its_shape(exported):
    with pytest.raises(WeightsError, match=r"inference\..*cannot run it on an image of shape \[1, 4, 64, 64\]"):
        InferenceEngine(exported.folder)(np.zeros((1, 4, 64, 64), "float32"))


@pytest.mark.parametrize("onednn", [False, True])
def test_a_legacy_model_runs_on_every_paddlepaddle(repo, onednn):
    """tests/legacy_model, written by 3.1.1: sigmoid(batch_norm(conv(x))), upsampled twofold."""
    found = InferenceEngine(repo / "tests/legacy_model", onednn=onednn)(np.full((1, 3, 2, 2), 0.5, "float32"))
    assert found.shape == (1, 2, 4, 4)
    np.testing.assert_allclose(found[0, :, 3, 0], [0.6104185, 0.4841939], atol=1e-6)


def test_a_model_that_gives_no_text_map_is_no_detector(repo):
    with pytest.raises(WeightsError, match=r"not a model for text detection: .* it gives float32 \[1, 2, 4, 4\]"):
        open_exported(repo / "tests/legacy_model", DETECTION)(np.full((1, 3, 2, 2), 0.5, "float32"))


def test_a_folder_without_a_model_lists_what_it_has(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(WeightsError, match=r"notes\.txt"):
        InferenceEngine(tmp_path)


def test_paddle_can_still_trace_and_train_after_an_export(exported, source):
    source.train()
    loss = source(paddle.ones([1, 3, 64, 64]))["maps"].mean()
    loss.backward()
    assert np.isfinite(float(loss))
    source.clear_gradients()
    source.eval()


class TrainedInBranches(nn.Layer):
    """A detector of layers that train as parallel branches."""

    def __init__(self):
        super().__init__()
        self.layers = deploying()

    def forward(self, x):
        return {"maps": nn.functional.sigmoid(self.layers(x)[:, :1])}


def test_what_is_exported_is_the_deployed_network(v2_config, tmp_path):
    """The branches would cost more than the whole network saves; the proof is against the network that trained."""
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 64)).astype("float32")
    sample = Prepared(np.zeros((32, 64, 3), np.uint8), image, np.array([[32, 64, 1, 1]], np.float32))
    model = TrainedInBranches()
    model.eval()
    exported = export(model, load_config(v2_config), tmp_path / "inference", sample, {})
    assert 0 < exported.differences[PLAIN] < 1e-5
    assert not model.layers.one.is_repped
    weights = [value for value in read_weight_file(exported.folder).arrays.values() if value.ndim == 4]
    assert len(weights) == 4, "first, two of branches, last"
