"""`deploy/cpp_infer` prints the boxes of Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from exports import (
    REPO,
    assert_same,
    boxes_of_python,
    configured,
    dark_is_text,
    page_and_turned,
    require_installed,
    write_settings,
)

pytestmark = pytest.mark.slow
OPENVINO = "build/deploy/openvino/openvino/cmake"
HEADERS = ("opencv4/opencv2/imgcodecs.hpp", "polyclipping/clipper.hpp", "yaml-cpp/yaml.h", "nlohmann/json.hpp")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The program, built as its README says."""
    require_installed(OPENVINO, "/usr/bin/cmake", "/usr/bin/g++", *(f"/usr/include/{name}" for name in HEADERS))
    build = tmp_path_factory.mktemp("build")
    configure = ["cmake", "-S", "deploy/cpp_infer", "-B", build, f"-DOpenVINO_DIR={REPO / OPENVINO}"]
    for command in (configure, ["cmake", "--build", build]):
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0 and "warning:" not in done.stderr, done.stdout + done.stderr
    return build / "detect"


def found_by(program: Path, model: Path, images: Path) -> dict:
    done = subprocess.run([program, model, *sorted(images.iterdir())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["paddle_export", "onnx_export"])
def test_real_detectors_find_the_boxes_of_python(program, kind, images, tmp_path, request):
    model = request.getfixturevalue(kind)
    found = found_by(program, model, images)
    assert_same(found, boxes_of_python(model, configured(), images, tmp_path), pixels=0)


def test_other_weights_find_other_boxes(program, paddle_export, onnx_export, images, tmp_path):
    expected = boxes_of_python(paddle_export, configured(), images, tmp_path)
    with pytest.raises(AssertionError):
        assert_same(found_by(program, onnx_export, images), expected, pixels=0)


@pytest.mark.parametrize(
    "changes",
    [
        ["Eval.dataset.transforms.DetResizeForTest={image_shape: [320, 544]}"],
        ["Eval.dataset.transforms.DetResizeForTest={resize_long: 500}"],
        ["Eval.dataset.transforms.DetResizeForTest={limit_side_len: 500, limit_type: resize_long}"],
        ["Eval.dataset.transforms.DetResizeForTest=null"],
        ["PostProcess.use_dilation=true", "PostProcess.unclip_ratio=2.2", "PostProcess.box_thresh=0.2"],
        ["Eval.dataset.transforms.DecodeImage.img_mode=RGB", "PostProcess.thresh=0.5", "PostProcess.box_thresh=0.5"],
    ],
)
def test_the_settings_of_an_export_are_read_from_it(program, changes, page, tmp_path):
    config, images = configured(changes), page_and_turned(tmp_path / "images", page)
    model = dark_is_text(tmp_path / "model", config)
    expected = boxes_of_python(model, config, images, tmp_path / "out")
    # diamonds of a few pixels, whose corners lie on the edge of a pixel: OpenCV 4.6 and 4.11 round differently
    assert_same(found_by(program, model, images), expected, pixels=0, astray=0.05)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda model, image: model.rename(model.parent / "gone"), "model: expected a folder with a .pdmodel or .onnx"),
        (lambda model, image: image.write_text("no image"), "image.png: not found, or not an image"),
        (lambda model, image: (model / "inference.yml").unlink(), "inference.yml: not found"),
        (lambda model, image: (model / "inference.yml").write_text("a: ["), "inference.yml: yaml-cpp: error at line"),
        (lambda model, image: (model / "dark.onnx").write_bytes(b"\x08"), "dark.onnx: OpenVINO cannot load it"),
        (
            lambda model, image: write_settings(model, configured(["PostProcess.box_type=poly"])),
            "inference.yml: box_type: found poly, which this program does not know",
        ),
    ],
)
def test_errors_are_one_line(program, spoil, told, page, tmp_path):
    model, image = dark_is_text(tmp_path / "model", configured()), tmp_path / "image.png"
    shutil.copy(page, image)
    spoil(model, image)
    done = subprocess.run([program, model, image], capture_output=True, text=True)
    line = done.stderr.splitlines()[-1]  # before it may come remarks of libpng and OpenVINO
    assert done.returncode == 2 and not done.stdout
    assert line.startswith("error: ") and told in line
