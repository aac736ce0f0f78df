"""What an export tells its clients: settings written out, and calls that say what a client would take otherwise."""

from __future__ import annotations

import ast
import inspect
import shlex
from pathlib import Path

import pytest
import yaml

from ocrslim.config import load_config
from ocrslim.config.client_settings import client_sections
from ocrslim.export import client_settings
from ocrslim.export.clients import client_calls
from ocrslim.tasks.detection.client_settings import DB_DEFAULTS, post_processing

EVERY = {
    "paddle": Path("m/inference.pdmodel"),
    "pir": Path("m/pir/inference.json"),
    "onnx": Path("m/onnx/inference.onnx"),
    "lite": Path("m/lite/inference.nb"),
}
RESIZE = "Eval.dataset.transforms.DetResizeForTest"


@pytest.fixture
def detector(v2_config):
    return lambda *options: load_config(v2_config, ["Global.use_gpu=false", *options])


@pytest.fixture
def recogniser(repo, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    file = repo / "configs/rec/PP-OCRv3/PP-OCRv3_mobile_rec.yml"
    return load_config(file, [f"Global.character_dict_path={words}", "Global.use_gpu=false"])


def options(config, name):
    return next(entry[name] for entry in client_settings(config)["PreProcess"]["transform_ops"] if name in entry)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("", {"limit_side_len": 736, "limit_type": "min"}),  # PaddleOCR's own; PaddleX's is 960/max
        ("{limit_side_len: 640}", {"limit_side_len": 640, "limit_type": "min"}),
        # PaddleX passes over the first two
        (
            "{limit_side_len: 1280, limit_type: max}",
            {"limit_side_len": 1280, "limit_type": "max", "resize_long": 1280},
        ),
        ("{image_shape: [320, 640]}", {"image_shape": [320, 640], "keep_ratio": False}),
        ("{resize_long: 960}", {"resize_long": 960}),
    ],
)
def test_the_size_is_written_out_as_clients_take_it(given, written, detector):
    assert options(detector(f"{RESIZE}={given}"), "DetResizeForTest") == written


def test_post_processing_is_written_out_with_paddleocrs_defaults():
    from ocrslim.ppocr import build_post_process

    found = post_processing({"name": "DBPostProcess", "thresh": 0.2})
    assert found == {"name": "DBPostProcess", **DB_DEFAULTS, "thresh": 0.2}
    theirs = inspect.signature(type(build_post_process({"name": "DBPostProcess"}, {}))).parameters
    assert {name: theirs[name].default for name in DB_DEFAULTS} == DB_DEFAULTS


def test_a_detectors_calls_have_what_differs_from_the_clients_defaults(detector):
    calls = client_calls(detector(), EVERY)
    assert set(calls) == {
        *("paddleocr 2.10", "paddleocr 2.10, command line", "paddleocr 3", "paddleocr 3, command line"),
        *("paddleocr 3, pipeline", "paddleocr 3, ONNX Runtime", "rapidocr 3", "rapidocr-paddle 1.4"),
        *("Paddle Inference", "ONNX Runtime", "ONNX Runtime, Node", "OpenVINO", "Paddle Lite", "OpenCV"),
    }
    for client in ("paddleocr 3", "paddleocr 3, pipeline", "paddleocr 3, ONNX Runtime"):
        assert 'limit_type="min"' in calls[client] and "unclip_ratio=1.5" in calls[client], client
        assert 'model_name="PP-OCRv3_mobile_det"' in calls[client], client
    assert (
        '"Det.mean": [0.485, 0.456, 0.406]' in calls["rapidocr 3"]
        and '"Det.limit_side_len": 736' in calls["rapidocr 3"]
    )
    assert "det_mean=[0.485, 0.456, 0.406]" in calls["rapidocr-paddle 1.4"]
    assert 'det_model_path="m", det_limit_side_len=736' in calls["rapidocr-paddle 1.4"]
    assert "--det_limit_type min" in calls["paddleocr 2.10, command line"]
    assert '"INFERENCE_PRECISION_HINT": "f32"' in calls["OpenVINO"] and "m/inference.pdmodel" in calls["OpenVINO"]


def test_only_the_clients_of_the_formats_at_hand_are_named(detector):
    assert set(client_calls(detector(), {"lite": EVERY["lite"]})) == {"Paddle Lite"}
    assert "paddleocr 2.10" not in client_calls(detector(), {"pir": EVERY["pir"]})
    named = client_calls(detector(), {"onnx": Path("m/other.onnx")})
    assert "paddleocr 3, ONNX Runtime" not in named, "it looks for inference.onnx alone"
    assert 'InferenceSession("m/other.onnx")' in named["ONNX Runtime"]


def test_a_recognisers_calls_name_its_dictionary(recogniser):
    calls = client_calls(recogniser, EVERY)
    assert "OpenCV" not in calls
    assert 'rec_char_dict_path="m/dict.txt"' in calls["paddleocr 2.10"]
    assert '"Rec.rec_keys_path": "m/onnx/dict.txt"' in calls["rapidocr 3"]
    assert 'rec_keys_path="m/dict.txt"' in calls["rapidocr-paddle 1.4"]
    assert recogniser.task.client_files(recogniser.section("Global")) == {"dict.txt": "a\nb\n"}


def test_a_classifiers_settings_are_those_that_paddleocr_3_knows_and_ocrslim_reads_back_its_own(tmp_path, repo):
    """PaddleOCR 3 ends at a transform or a post-processing that its classifiers do not have."""
    config = load_config(repo / "configs/cls/cls_mv3.yml", ["Global.use_gpu=false", "Global.label_list=['0', '90']"])
    written = client_settings(config)
    assert [name for entry in written["PreProcess"]["transform_ops"] for name in entry] == [
        *("ResizeImage", "NormalizeImage", "ToCHWImage")
    ]
    assert written["PreProcess"]["transform_ops"][0] == {"ResizeImage": {"size": [192, 48]}}
    assert written["PostProcess"] == {"Topk": {"topk": 1, "label_list": ["0", "90"]}}
    path = tmp_path / "inference.yml"
    path.write_text(yaml.safe_dump(written))
    read = client_sections(path)
    assert read["Eval"]["dataset"]["transforms"] == config.section("Eval")["dataset"]["transforms"]
    assert read["PostProcess"] == {"name": "ClsPostProcess", "label_list": ["0", "90"]}


def test_calls_survive_paths_that_need_quotes(detector):
    odd = Path('my "own" model')
    calls = client_calls(detector(), {name: odd / file for name, file in EVERY.items()})
    for client, call in calls.items():
        if "command line" in client:
            assert any(word.startswith(str(odd)) for word in shlex.split(call))
        else:
            strings = [node.value for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Constant)]
            assert any(str(each).startswith(str(odd)) for each in strings), client
