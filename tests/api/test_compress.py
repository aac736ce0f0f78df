"""`ocrslim.compress` from Python."""

from __future__ import annotations

import json

from bare_models import source, write_images

import ocrslim


def test_it_does_what_the_command_does(tmp_path):
    images, model, out = write_images(tmp_path / "images"), source(tmp_path / "model", "onnx"), tmp_path / "out"
    options = {"Eval.dataset.transforms.DetResizeForTest": {"image_shape": [64, 96]}, "Prune.align": 1}
    options |= {"Prune.recover_images": 4, "Export.rewrite": False}
    record = ocrslim.compress(model, images, out, target={"macs": 0.2}, task="det", options=options)
    assert record == json.loads((out / "compress.json").read_text()) and record["pruned"] == {"macs": 0.2}
    assert (out / "det.onnx").is_file() and record["verdict"]["kind"]
