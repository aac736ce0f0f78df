"""Paddle's predictor over an exported model: how it is set up, and one pass.

Run as a script, this file is the process of `first_load`: it has Paddle's library alone, without Paddle's Python, whose
import would take six times as long. So nothing of `ocrslim` is imported here, nor Paddle: what is called is handed in.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

PARAMS_FILE = "inference.pdiparams"
# Paddle's own kernels, oneDNN's, or oneDNN's only in layers that Paddle fuses for it
PLAIN, ONEDNN, ONEDNN_FUSED = "paddle_inference", "paddle_inference_onednn", "paddle_inference_onednn_fused"


def open_predictor(library: Any, config: Any, threads: int, kernels: str) -> Any:
    """Make a predictor of `library`, which has Paddle's `create_predictor`, on the CPU.

    Args:
        config: Paddle's configuration of the model's two files; changed.
        threads: CPU threads.
        kernels: `PLAIN`, `ONEDNN` or `ONEDNN_FUSED`.
    """
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    if kernels == PLAIN:  # oneDNN is on by default since Paddle 3
        config.disable_mkldnn()
    else:
        config.enable_mkldnn()
    if kernels == ONEDNN_FUSED:
        config.delete_pass("onednn_placement_pass")
    return library.create_predictor(config)


def run_predictor(predictor: Any, image: np.ndarray) -> list[np.ndarray]:
    """Return the outputs for `image`.

    Raises:
        ValueError: there is no input or no output.
        Exception: of many types, from Paddle.
    """
    inputs, outputs = predictor.get_input_names(), predictor.get_output_names()
    if not inputs or not outputs:
        raise ValueError("it has no input or no output")
    feed = predictor.get_input_handle(inputs[0])
    feed.reshape(image.shape)
    values = np.ascontiguousarray(image, dtype=np.float32)
    # Paddle's Python adds the first name to its library's
    copy = feed.copy_from_cpu if hasattr(feed, "copy_from_cpu") else feed._copy_from_cpu_bind
    copy(values)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in outputs]


def params_of(model: Path) -> Path:
    """Return the file with the parameters of `model`."""
    return model.with_suffix(".pdiparams")


def _library() -> ModuleType:
    """Paddle's library, by itself where that can be had."""
    paddle = importlib.util.find_spec("paddle")
    folders = paddle.submodule_search_locations if paddle is not None else None
    with contextlib.suppress(ImportError, AttributeError, IndexError):
        (path,) = Path((folders or [""])[0]).glob("base/libpaddle.so")
        spec = importlib.util.spec_from_file_location("libpaddle", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "create_predictor") and hasattr(module, "AnalysisConfig"):
            return module
    from paddle.base import core

    return core


def main(arguments: list[str]) -> None:
    """Load and run a model as `check_first_load` asks: its file, its input's shape, the kernels, bytes of memory."""
    model, shape, kernels, memory = Path(arguments[0]), json.loads(arguments[1]), arguments[2], int(arguments[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    library: Any = _library()
    config = library.AnalysisConfig(str(model), str(params_of(model)))
    run_predictor(open_predictor(library, config, 1, kernels), np.zeros(shape, np.float32))


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    main(sys.argv[1:])
