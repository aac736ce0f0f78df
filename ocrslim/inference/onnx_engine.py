"""An ONNX file through ONNX Runtime, the judge of what an ONNX file computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import RuntimeStartError, WeightsError
from ocrslim.formats import ONNX_PACKAGE, ONNX_RUNTIME, onnx_runtime_lacks
from ocrslim.inference.outputs import Output, output_from
from ocrslim.utils import cause_of, import_fault


class OnnxEngine:
    """An ONNX file on the CPU.

    Attributes:
        kernels: `ONNX_RUNTIME`.
    """

    kernels = ONNX_RUNTIME

    def __init__(self, path: Path | str, threads: int = 1, zero_denormals: bool = False):
        """
        Args:
            zero_denormals: take denormal numbers as zero; the first session of a process decides for its main thread.

        Raises:
            RuntimeStartError: ONNX Runtime is not installed, or starts no network.
            WeightsError: it does not load the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise RuntimeStartError(import_fault(error, ONNX_RUNTIME, ONNX_PACKAGE)) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # threads that wait for the next pass otherwise take time from whatever runs before that
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.set_denormal_as_zero", "1" if zero_denormals else "0")
        self._path = path
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it raises types of its own
            lacks = onnx_runtime_lacks()
            if lacks:
                raise RuntimeStartError(lacks) from None
            raise WeightsError(f"{path}: ONNX Runtime cannot load it: {cause_of(error)}") from None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: np.ndarray) -> Output:
        """Run the model.

        Raises:
            WeightsError: it does not take such an image.
        """
        try:
            return output_from(self._session.run(None, {self._input: image}))
        except Exception as error:  # as above
            raise WeightsError(
                f"{self._path}: ONNX Runtime cannot run it on an image of shape {list(image.shape)}: {cause_of(error)}"
            ) from None
