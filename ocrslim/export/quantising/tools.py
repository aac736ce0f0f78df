"""Static quantisation by the tools of ONNX Runtime and OpenVINO: python tools.py TOOL MODEL.onnx INPUTS.npz TARGET.onnx

Run as a script, in a process of its own: both tools print and log as they like, and keep every value of the network for
every input. It has neither Paddle nor ocrslim.

Both write an ONNX file with `QuantizeLinear` and `DequantizeLinear` around the layers that compute in integers; each
runs fast in its own runtime alone, which fuses what its tool writes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ONNXRUNTIME, NNCF = "onnxruntime", "nncf"
_OPSET = 13  # the first in which a scale by channel can be written


def quantise_onnxruntime(model: Path, inputs: Sequence[np.ndarray], target: Path) -> None:
    """Quantise for ONNX Runtime: weights by channel, activations as uint8, which x86 multiplies faster than int8."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name, current = _current(model)
    prepared = str(target.with_suffix(".prepared"))
    onnx.save(current, prepared)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[Mapping[str, np.ndarray]] = ({name: image} for image in inputs)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self._feeds, None)

    quant_pre_process(prepared, prepared, skip_symbolic_shape=True)
    quantize_static(
        *(prepared, str(target), Reader()),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    Path(prepared).unlink()


def quantise_nncf(model: Path, inputs: Sequence[np.ndarray], target: Path) -> None:
    """Quantise for OpenVINO, by NNCF's default preset."""
    import nncf
    import onnx

    name, current = _current(model)
    images = nncf.Dataset(list(inputs), lambda image: {name: image})
    onnx.save(nncf.quantize(current, images, subset_size=len(inputs)), str(target))


TOOLS = {ONNXRUNTIME: quantise_onnxruntime, NNCF: quantise_nncf}


def _current(model: Path) -> tuple[str, Any]:
    """Return the name of the input, and the model in an opset that scales by channel need."""
    import onnx
    from onnx import version_converter

    proto = onnx.load(str(model))
    (opset,) = (each.version for each in proto.opset_import if each.domain in ("", "ai.onnx"))
    constants = {tensor.name for tensor in proto.graph.initializer}
    (name,) = (value.name for value in proto.graph.input if value.name not in constants)
    return name, proto if opset >= _OPSET else version_converter.convert_version(proto, _OPSET)


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    with np.load(sys.argv[3]) as arrays:
        TOOLS[sys.argv[1]](Path(sys.argv[2]), [arrays[key] for key in arrays.files], Path(sys.argv[4]))
