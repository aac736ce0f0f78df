"""Exports that the programs in `deploy/` run, and the boxes that `ocrslim predict` finds with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx_models import node, onnx_model, saved
from PIL import Image

from ocrslim.config import Config, load_config
from ocrslim.evaluation import predict_images
from ocrslim.export import client_settings
from ocrslim.inference import OnnxEngine, open_exported

REPO = Path(__file__).resolve().parents[2]
REMEDY = "make setup-deploy"
LARGEST = "Eval.dataset.transforms.DetResizeForTest={limit_side_len: 960, limit_type: max}"
_ORIENTATION = 0x0112  # in EXIF data
Boxes = list[list[list[int]]]


def require_installed(*paths: Path | str) -> None:
    """Skip, naming what is missing of what `make setup-deploy` installs."""
    missing = [str(path) for path in paths if not (REPO / path).exists()]
    if missing:
        pytest.skip(f"not installed ({REMEDY}): {', '.join(missing)}")


def configured(options: Sequence[str] = ()) -> Config:
    config = REPO / "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml"
    return load_config(config, ["Global.use_gpu=false", LARGEST, *options])


def write_settings(folder: Path, config: Config) -> None:
    """Write the `inference.yml` of an export."""
    settings = yaml.safe_dump(client_settings(config), sort_keys=False)
    (folder / "inference.yml").write_text(settings, encoding="utf-8")


def dark_is_text(folder: Path, config: Config) -> Path:
    """Export a network whose map is the darkness of the image: quick, and it finds boxes of all shapes."""
    folder.mkdir()
    tensors = {"w": np.full((1, 3, 1, 1), -6, np.float32), "b": np.full(1, -6, np.float32)}
    ops = (node("Conv", "x w b", "1", kernel_shape=[1, 1]), node("Sigmoid", "1", "y"))
    saved(folder / "dark.onnx", onnx_model(*ops, tensors=tensors))
    write_settings(folder, config)
    return folder


def page_and_turned(folder: Path, page: Path) -> Path:
    """Put the page into a folder, and once more as a camera that was held on its side stores it."""
    folder.mkdir()
    shutil.copy(page, folder)
    with Image.open(page) as image:
        turned = Image.Exif()
        turned[_ORIENTATION] = 6
        image.convert("RGB").rotate(90, expand=True).save(folder / "turned.jpg", quality=95, exif=turned)
    return folder


def boxes_of_python(folder: Path, config: Config, images: Path, out: Path) -> dict[str, Boxes]:
    """Return what `ocrslim predict` writes for the images, with the runtime that an export is for."""
    onnx = sorted(folder.glob("*.onnx"))
    engine: Any = OnnxEngine(onnx[0]) if onnx else open_exported(folder, config.task)
    return json.loads(predict_images(engine, config, images, out).file.read_text(encoding="utf-8"))


def assert_same(found: Mapping[str, Boxes], expected: Mapping[str, Boxes], pixels: float, astray: float = 0) -> None:
    """Assert that each image has the same boxes, in any order, within so many pixels.

    Args:
        astray: share of the boxes that may lie elsewhere, or be missing.
    """
    assert found.keys() == expected.keys()
    for name, boxes in expected.items():
        ours, theirs = (np.array(each, float).reshape(-1, 1, 8) for each in (found[name], boxes))
        assert len(ours) and len(theirs), name
        apart = np.abs(ours - theirs.transpose(1, 0, 2)).max(axis=2)
        for nearest in (apart.min(axis=0), apart.min(axis=1)):
            assert np.mean(nearest > pixels) <= astray, (name, nearest.max())
