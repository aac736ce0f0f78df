"""The one way to score a detector: engine, post-processing and metric over an evaluation set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from ocrslim.config import Config
from ocrslim.data import EvalSet
from ocrslim.engines import Engine
from ocrslim.errors import ConfigError
from ocrslim.metrics import DetMetric

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


def evaluate(engine: Engine, images: EvalSet, post_process: PostProcess, desc: str = "eval") -> dict[str, float]:
    """Score `engine` on `images`, with a progress bar on standard error.

    Returns:
        precision, recall and hmean, each 0..1.
    """
    metric = DetMetric()
    with tqdm(images, total=len(images), desc=desc, unit="img", leave=False, dynamic_ncols=True) as bar:
        for item in bar:
            found = post_process(engine(item.image), item.shape)
            metric.update(found, item.polys, item.ignore)
    return metric.summary()
