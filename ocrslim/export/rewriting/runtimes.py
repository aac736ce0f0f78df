"""What is rewritten for each format and runtime, as measured (`benchmarks/rewriting.py`)."""

from __future__ import annotations

from ocrslim.config import Runtime
from ocrslim.inference import Rewriting

_ONNX, _LITE = "onnx", "lite"
_READS_ONNX: tuple[Runtime, ...] = ("openvino",)  # and gains by what other clients of that format do not take


def rewriting_for(kind: str, runtime: Runtime) -> Rewriting:
    """Return the rewriting of a format, for the runtime that it will run in.

    OpenCV infers the shapes of an ONNX file with free sizes for an image of one pixel, so that such a file has to hold
    for any size; ONNX Runtime gains nothing by more. Other readers of it are served as Paddle Inference is.

    Paddle 3.3 has upsampling by factors in double precision, which its oneDNN refuses to read: programs of Paddle have
    transposed convolutions in its place, which no version minds; of single channels, unless others are faster here
    (`upsampling_block`). Paddle Lite for x86 has those not.
    """
    kept = kind in (_ONNX, _LITE)
    return Rewriting(any_size=kind == _ONNX and runtime not in _READS_ONNX, upsampling=None if kept else 1)
