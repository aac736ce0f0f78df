"""Tiny networks from an image to a map, exported by Paddle: quick to make, whole programs all the same."""

from __future__ import annotations

from pathlib import Path

import paddle
import pytest
from paddle import nn

from ocrslim.export.formats.onnx import onnx_lacks

needs_converter = pytest.mark.skipif(onnx_lacks() is not None, reason=str(onnx_lacks()))
# Paddle writes the legacy format up to 3.1
FORMATS = ("pir", "legacy") if paddle.__version__.startswith("3.1.") else ("pir",)


class Tiny(nn.Layer):
    """Convolution, batch norm and activation at half the size, and back."""

    def __init__(self, channels: int = 1):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2D(4)
        self.last = nn.Conv2D(4, channels, 1)

    def forward(self, x):
        x = nn.functional.hardswish(self.bn(self.conv(x)))
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return nn.functional.sigmoid(self.last(x))


def export(model: nn.Layer, folder: Path, legacy: bool, height: int | None = None) -> Path:
    """Write `model` as an inference model into `folder`, for images of any size, or of one height."""
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    spec = [paddle.static.InputSpec([None, 3, height, None], "float32", name="x")]

    def save() -> None:
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(folder / "inference"))

    if legacy:
        with paddle.pir_utils.DygraphOldIrGuard():
            save()
    else:
        save()
    return folder
