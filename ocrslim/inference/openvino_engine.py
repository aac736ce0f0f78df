"""An exported network through OpenVINO, which reads ONNX files and Paddle's `.pdmodel`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import RuntimeStartError, WeightsError
from ocrslim.inference.outputs import Output, output_from
from ocrslim.utils import cause_of, import_fault, start_fault

OPENVINO, _PACKAGE = "OpenVINO", "openvino"


class OpenVinoEngine:
    """An ONNX file or a `.pdmodel` on the CPU, in float32.

    Attributes:
        kernels: `OPENVINO`.
    """

    kernels = OPENVINO

    def __init__(self, path: Path | str, threads: int = 1, zero_denormals: bool = False):
        """
        Args:
            zero_denormals: take denormal numbers as zero, and not what OpenVINO chooses for the network.

        Raises:
            RuntimeStartError: OpenVINO is not installed, or starts no network.
            WeightsError: it does not load the file.
        """
        try:
            import openvino
        except ImportError as error:
            raise RuntimeStartError(import_fault(error, OPENVINO, _PACKAGE)) from None
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",  # where the processor has bfloat16 it computes in that by default
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            **({"CPU_DENORMALS_OPTIMIZATION": True} if zero_denormals else {}),
        }
        self._path = path
        try:
            compiled: Any = openvino.Core().compile_model(str(path), "CPU", settings)
        except Exception as error:  # it raises RuntimeError for everything, with its own place in the code first
            lacks = _lacks()
            if lacks:
                raise RuntimeStartError(lacks) from None
            raise WeightsError(f"{path}: OpenVINO cannot load it: {cause_of(error)}") from None
        self._outputs = compiled.outputs
        self._request: Any = compiled.create_infer_request()

    def __call__(self, image: np.ndarray) -> Output:
        """Run the model.

        Raises:
            WeightsError: it does not take such an image.
        """
        try:
            found = self._request.infer([image])
        except Exception as error:  # as above
            raise WeightsError(
                f"{self._path}: OpenVINO cannot run it on an image of shape {list(image.shape)}: {cause_of(error)}"
            ) from None
        return output_from([found[output] for output in self._outputs])


def _lacks() -> str | None:
    """Return what keeps OpenVINO from running a network whose output is its input; None if nothing does."""
    import openvino

    try:
        value = openvino.opset1.parameter([1], openvino.Type.f32)
        openvino.Core().compile_model(openvino.Model([openvino.opset1.relu(value)], [value]), "CPU")
    except Exception as error:  # as above
        return start_fault(error, OPENVINO, _PACKAGE)
    return None
