"""What is rewritten for each runtime, as measured (`benchmarks/rewriting.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from ocrslim.config import Runtime
from ocrslim.inference import Rewriting

_MEASURED: Mapping[Runtime, Rewriting] = {
    "paddle": Rewriting(),
    "onnxruntime": Rewriting(),
    "openvino": Rewriting(),
}


def rewriting_for(runtime: Runtime) -> Rewriting:
    """Return the rewriting that makes networks fastest in a runtime."""
    return _MEASURED[runtime]
