"""Paddle's predictor over an exported model: how it is set up, and one pass.

Nothing here imports Paddle: what is called is handed in, so that a process that has only Paddle's library can use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

PARAMS_FILE = "inference.pdiparams"
# Paddle's own kernels, oneDNN's, or oneDNN's only in layers that Paddle fuses for it
PLAIN, ONEDNN, ONEDNN_FUSED = "paddle_inference", "paddle_inference_onednn", "paddle_inference_onednn_fused"


def open_predictor(library: Any, config: Any, threads: int, kernels: str) -> Any:
    """A predictor of `library`, which has Paddle's `create_predictor`, on the CPU.

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


def run_predictor(predictor: Any, image: np.ndarray) -> np.ndarray:
    """What the first output is for `image`.

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
    return predictor.get_output_handle(outputs[0]).copy_to_cpu()


def params_of(model: Path) -> Path:
    """The file with the parameters of `model`."""
    return model.with_name(PARAMS_FILE)
