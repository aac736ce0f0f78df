"""`predict` with an exported folder alone: its own `inference.yml`, or PaddleOCR's, says how to run it."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image, ImageDraw
from small_export import FORMATS, Tiny, export

from ocrslim.cli import main
from ocrslim.config import load_config
from ocrslim.export import client_settings

# Of PaddleOCR 3's own exports: keys sorted, shapes for TensorRT with an anchor, one size for the longer side.
OFFICIAL = """\
Global:
  model_name: PP-OCRv5_mobile_det
Hpi:
  backend_configs:
    paddle_infer:
      trt_dynamic_shapes: &id001
        x:
        - - 1
          - 3
          - 32
          - 32
    tensorrt:
      dynamic_shapes: *id001
PostProcess:
  box_thresh: 0.5
  max_candidates: 1000
  name: DBPostProcess
  thresh: 0.3
  unclip_ratio: 1.5
PreProcess:
  transform_ops:
  - DecodeImage:
      channel_first: false
      img_mode: BGR
  - DetLabelEncode: null
  - DetResizeForTest:
      resize_long: 960
  - NormalizeImage:
      mean:
      - 0.485
      - 0.456
      - 0.406
      order: hwc
      scale: 1./255.
      std:
      - 0.229
      - 0.224
      - 0.225
  - ToCHWImage: null
  - KeepKeys:
      keep_keys:
      - image
      - shape
      - polys
      - ignore_tags
"""


class DarkIsText(Tiny):
    """A network whose map is the darkness of the image: it finds black bars on white."""

    def __init__(self):
        super().__init__()
        self.dark = paddle.nn.Conv2D(3, 1, 1)
        self.dark.weight.set_value(paddle.full_like(self.dark.weight, -4.0))
        self.dark.bias.set_value(paddle.zeros_like(self.dark.bias))

    def forward(self, x):
        return paddle.nn.functional.sigmoid(self.dark(x))


@pytest.fixture(scope="module")
def network():
    return DarkIsText()


@pytest.fixture
def folder(network, tmp_path, monkeypatch):
    """An exported folder `model` and a folder `pages` with one image, in the working folder."""
    monkeypatch.chdir(tmp_path)
    export(network, tmp_path / "model", legacy=FORMATS[-1] == "legacy")
    (tmp_path / "model/inference.yml").write_text(OFFICIAL, encoding="utf-8")
    page = Image.new("RGB", (480, 320), "white")
    ImageDraw.Draw(page).rectangle((96, 96, 384, 128), fill="black")
    (tmp_path / "pages").mkdir()
    page.save(tmp_path / "pages/a.png")
    return tmp_path / "model"


def predicted(capsys, *arguments: str) -> dict:
    assert main(["predict", *arguments, "--images", "pages", "--out", "seen", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    with open(result["boxes"], encoding="utf-8") as stream:
        return json.load(stream)


def refused(capsys, *arguments: str) -> str:
    assert main(["predict", *arguments, "--images", "pages", "--out", "seen", "-q"]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ") and not out
    return line


def test_an_export_of_paddleocr_needs_no_configuration(capsys, folder):
    boxes = predicted(capsys, "model")
    (box,) = boxes["a.png"]
    assert np.allclose(np.mean(box, axis=0), [240, 112], atol=4), "the bar's middle, in pixels of the page"
    assert (folder.parent / "seen/a.png.png").is_file()


def test_the_folder_says_what_the_configuration_said(capsys, folder, v2_config):
    changes = ["Eval.dataset.transforms.DetResizeForTest={limit_side_len: 320, limit_type: max}"]
    settings = client_settings(load_config(v2_config, changes))
    (folder / "inference.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    alone = predicted(capsys, "model")
    named = predicted(capsys, "model", "-c", str(v2_config), "-o", *changes, "Global.use_gpu=false")
    by_key = predicted(capsys, "-c", str(v2_config), "-o", *changes, "Global.pretrain_weights=model")
    assert alone == named == by_key and len(alone["a.png"]) == 1


def test_settings_of_the_folder_can_be_overridden(capsys, folder):
    wide, narrow = (
        np.ptp(predicted(capsys, "model", "-o", f"PostProcess.unclip_ratio={ratio}")["a.png"][0], axis=0)
        for ratio in (2.0, 1.0)
    )
    assert (wide > narrow + 4).all()
    sized = predicted(capsys, "model", "-o", "Eval.dataset.transforms.DetResizeForTest.resize_long=320")
    assert len(sized["a.png"]) == 1


def written(folder, old: str, new: str) -> None:
    (folder / "inference.yml").write_text(OFFICIAL.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("DBPostProcess", "CTCLabelDecode", "model/inference.yml: PreProcess.transform_ops: nothing brings"),
        ("DBPostProcess", "Topk", "nothing says what kind of model it is, expected PostProcess.name"),
        ("resize_long: 960", "resize_lnog: 960", "model/inference.yml: PreProcess.transform_ops"),
        ("  - DetLabelEncode: null\n", "", "PreProcess.transform_ops: DetLabelEncode is missing"),
        ("DetResizeForTest", "RecResizeImg", "unknown transform 'RecResizeImg'"),
        ("transform_ops", "transforms", "model/inference.yml: PreProcess.transform_ops: missing"),
        ("PostProcess:", "After:", "model/inference.yml: PostProcess: missing"),
        ("box_thresh: 0.5", "box_thresh: 2024-99-99", "not valid YAML"),
        ("box_thresh: 0.5", "box_thresh: 7", "PostProcess.box_thresh: found 7"),
        ("Global:", "Global: [", "model/inference.yml: not valid YAML"),
        (OFFICIAL, "just text", "holds no sections"),
        (OFFICIAL, "[" * 5000, "nested deeper"),
    ],
)
def test_a_wrong_inference_yml_is_one_line_by_its_own_keys(capsys, folder, old, new, expected):
    written(folder, old, new)
    assert expected in refused(capsys, "model")
    assert not (folder.parent / "seen").exists()


def test_what_lacks_is_said_in_a_line(capsys, folder):
    assert "no model is named" in refused(capsys)
    assert "nowhere: not found" in refused(capsys, "nowhere")
    assert "pages/config.yml: not found, expected the configuration of a.png" in refused(capsys, "pages/a.png")
    assert "pages: not found, with or without .pdparams" in refused(capsys, "pages", "--task", "det")
    (folder / "inference.pdiparams").rename(folder / "weights")
    assert "model/inference.pdiparams: not found" in refused(capsys, "model")
    (folder / "weights").rename(folder / "inference.pdiparams")
    (folder / "inference.yml").unlink()
    assert "model: no inference.yml lies beside it" in refused(capsys, "model")


def test_two_models_are_one_too_many(capsys, folder, v2_config):
    named = "Global.pretrain_weights=other"
    assert "both are the model to run: keep one" in refused(capsys, "model", "-o", named)
    assert "both are the model to run: keep one" in refused(capsys, "model", "-c", str(v2_config), "-o", named)


def test_a_faulty_inference_yml_is_told_before_paddle_is_imported(folder):
    import subprocess
    import sys

    written(folder, "DBPostProcess", "NoPostProcess")
    words = ["predict", "model", "--images", "pages", "--out", "seen"]
    code = f"import sys; from ocrslim.cli import main; sys.exit(main({words!r}) == 2 and 'paddle' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 1
