"""PaddleOCR's post-processing of a detector's output: shrink map to boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.errors import ConfigError

PostProcess = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


def post_processor(config: Config) -> PostProcess:
    """PaddleOCR's post-processing by the `PostProcess` section.

    Returns:
        A function of the shrink map, float32 [1, 1, H, W], and the image's shape, float32 [1, 4]
        (source height, source width, scale y, scale x), giving polygons [k, 2] in source pixels.

    Raises:
        ConfigError: PaddleOCR does not take the section's values.
    """
    from ocrslim.ppocr import build_post_process

    try:
        decode: Any = build_post_process(config.section("PostProcess"), config.section("Global"))
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{config.path}: PostProcess: PaddleOCR refuses it: {error}") from None

    def run(shrink_map: np.ndarray, shape: np.ndarray) -> list[np.ndarray]:
        found = decode({"maps": shrink_map}, shape)
        return [np.asarray(points, dtype=np.float32) for points in found[0]["points"]]

    return run
