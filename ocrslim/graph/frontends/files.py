"""A network from an exported file of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrslim.formats import ONNX_SUFFIX
from ocrslim.graph.frontends.imported import Imported
from ocrslim.graph.frontends.inference_folder import read_inference_folder
from ocrslim.graph.frontends.onnx_file import read_onnx_file


def read_network(source: str | Path, input_shape: Sequence[int]) -> Imported:
    """Read the network in an inference folder, in one of its files, or in an ONNX file.

    Args:
        input_shape: [N, C, H, W] of an image that the network takes.

    Raises:
        WeightsError: as `read_inference_folder` and `read_onnx_file`.
    """
    if Path(source).suffix == ONNX_SUFFIX:
        return read_onnx_file(source, input_shape)
    return read_inference_folder(source)
