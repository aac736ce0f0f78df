"""An export computes what its source computes, or it does not come into being."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
import yaml

from ocrslim import export as export_module
from ocrslim.artifacts import read_json
from ocrslim.config import load_config
from ocrslim.data import preprocess
from ocrslim.engines import DygraphEngine, InferenceEngine
from ocrslim.errors import ArtifactError, ExportError, WeightsError
from ocrslim.evaluate import post_processor
from ocrslim.export import FILES, export, verify
from ocrslim.network import load_network


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
def source(config):
    return load_network(config).model


@pytest.fixture(scope="module")
def image(config, page):
    return preprocess(config)(page)[0]


@pytest.fixture(scope="module")
def exported(source, config, image, tmp_path_factory):
    return export(source, config, tmp_path_factory.mktemp("e") / "inference", image, {"plan": None})


def test_the_folder_holds_model_settings_and_proof(exported, config):
    names = {p.name for p in exported.folder.iterdir()}
    assert {"inference.pdmodel", "inference.pdiparams", "inference.yml", "export.json"} <= names <= set(FILES)
    settings = yaml.safe_load((exported.folder / "inference.yml").read_text())
    assert settings["PostProcess"]["thresh"] == config.get("PostProcess.thresh")
    assert any("NormalizeImage" in op for op in settings["PreProcess"]["transform_ops"])
    proof = read_json(exported.folder / "export.json", "")
    assert proof["max_difference"] == exported.differences and max(exported.differences.values()) < 1e-4
    assert proof["config"] == config.tree
    assert [p.name for p in exported.folder.parent.iterdir()] == ["inference"], "nothing is left beside it"


def test_one_export_takes_any_size_and_batch(exported, source):
    image = np.random.default_rng(0).standard_normal((2, 3, 96, 160)).astype("float32")
    found = InferenceEngine(exported.folder)(image)
    np.testing.assert_allclose(found, DygraphEngine(source)(image), atol=1e-5)


def test_the_source_is_as_it_was(exported, source, image):
    assert not source.training
    assert source.forward.__func__ is type(source).forward


def test_other_weights_fail_the_check(exported, config, image):
    """The control: a network that differs in one layer is told from the exported one."""
    other = load_network(config).model
    weight = other.head.binarize.conv1.weight
    weight.set_value(weight * 1.01)
    with pytest.raises(ExportError, match="differs from the source by"):
        verify(other, exported.folder, image)


def test_a_failed_export_leaves_the_former_one(exported, source, config, image, monkeypatch):
    before = {p.name: p.read_bytes() for p in exported.folder.iterdir()}
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(ExportError):
        export(source, config, exported.folder, image, {})
    assert {p.name: p.read_bytes() for p in exported.folder.iterdir()} == before
    assert [p.name for p in exported.folder.parent.iterdir()] == ["inference"]


def test_exporting_again_replaces_the_folder(exported, source, config, image):
    again = export(source, config, exported.folder, image, {"plan": "another"})
    assert read_json(again.folder / "export.json", "")["plan"] == "another"
    verify(source, again.folder, image)


def test_a_kill_between_the_two_moves_loses_no_export(source, config, image, tmp_path, monkeypatch):
    former = tmp_path / ".inference.abcd1234.old"
    former.mkdir()
    (former / "inference.pdmodel").write_bytes(b"precious")
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(ExportError):
        export(source, config, tmp_path / "inference", image, {})
    assert (tmp_path / "inference/inference.pdmodel").read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["inference"]


def test_a_link_stays_a_link(source, config, image, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    export(source, config, tmp_path / "link", image, {})
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real/inference.pdmodel").is_file()


def test_a_folder_with_other_files_is_refused(tmp_path, source, config, image):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"thesis\.tex"):
        export(source, config, tmp_path, image, {})
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_paddleocrs_text_detector_finds_the_boxes_of_the_source(exported, source, config, page):
    """The client most users have, from the installed package, with its own pre- and post-processing."""
    import cv2
    from tools.infer.predict_det import TextDetector
    from tools.infer.utility import init_args

    import ocrslim.ppocr  # noqa: F401  puts `tools` on the path

    arguments = init_args().parse_args(
        ["--det_model_dir", str(exported.folder), "--use_gpu", "False", "--det_db_unclip_ratio", "1.5"]
    )
    found, _ = TextDetector(arguments)(cv2.imread(str(page)))
    tensor, shape = preprocess(config)(page)
    expected = post_processor(config)(DygraphEngine(source)(tensor), shape)
    assert len(found) == len(expected) > 2

    def centres(boxes):
        return np.array(sorted(np.mean(box, axis=0).tolist() for box in boxes))

    np.testing.assert_allclose(centres(found), centres(expected), atol=1.0)


@pytest.mark.parametrize(
    ("name", "content"),
    [("inference.pdmodel", b"rubbish"), ("inference.pdiparams", b"")],
    ids=["damaged model", "truncated parameters"],
)
def test_a_damaged_export_is_refused_by_name(exported, tmp_path, name, content):
    for path in exported.folder.iterdir():
        (tmp_path / path.name).write_bytes(content if path.name == name else path.read_bytes())
    with pytest.raises(WeightsError, match=r"inference\.pd"):
        InferenceEngine(tmp_path)


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
