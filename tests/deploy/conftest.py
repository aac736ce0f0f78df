"""Real detectors exported by ocrslim, and real images."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from exports import REPO, configured, write_settings

from ocrslim.cli import main


@pytest.fixture(scope="session")
def images(page, tmp_path_factory) -> Path:
    """A folder with the photograph of a page, and two receipts where they are."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copy(page, folder)
    for receipt in sorted((REPO.parent / "shared/data/sroie/images").glob("*.jpg"))[:2]:
        shutil.copy(receipt, folder)
    return folder


@pytest.fixture(scope="session")
def paddle_export(v2_config, pp_ocrv2, tmp_path_factory) -> Path:
    """PP-OCRv2 in Paddle's legacy format, as `ocrslim export` writes it."""
    folder = tmp_path_factory.mktemp("v2") / "inference"
    words = [f"Global.pretrain_weights={pp_ocrv2}", f"Global.save_inference_dir={folder}", "Global.use_gpu=false"]
    assert main(["export", "-c", str(v2_config), "-o", *words]) == 0
    write_settings(folder, configured())
    return folder


@pytest.fixture(scope="session")
def onnx_export(tmp_path_factory) -> Path:
    """PP-OCRv3 in ONNX, as `ocrslim export` writes it."""
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or spec.origin is None:
        pytest.skip("package not installed: rapidocr-onnxruntime (requirements-models.txt)")
    folder = tmp_path_factory.mktemp("v3") / "inference"
    source = Path(spec.origin).parent / "models/ch_PP-OCRv3_det_infer.onnx"
    assert main(["export", str(source), "--task", "det", "-o", f"Global.save_inference_dir={folder}"]) == 0
    return folder
