"""The one way to score a detector: engine, post-processing and metric over an evaluation set."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data import EvalSet
from ocrslim.engines import Engine, InferenceEngine
from ocrslim.errors import ConfigError
from ocrslim.metrics import DetMetric
from ocrslim.network_input import NetworkMemory
from ocrslim.progress import progress_bar

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

    Raises:
        DataError: an image takes more memory than there is.
    """
    NetworkMemory(engine).require(*images.largest)
    metric = DetMetric()
    with progress_bar(range(len(images)), inner=True, desc=desc, unit="img") as bar:
        for index in bar:
            shrink_map = engine(images.image(index))
            item = images[index]
            metric.update(post_process(shrink_map, item.shape), item.polys, item.ignore)
    return metric.summary()


def measure_latency(folders: Sequence[Path], shape: Sequence[int], repeats: int = 20) -> list[float]:
    """Median milliseconds of one forward pass of each exported folder, run in turns.

    Turns spread whatever else the machine does evenly over the folders. Paddle Inference with oneDNN where
    that runs (see `InferenceEngine`), one thread, after three passes to warm up.

    Args:
        folders: exported folders.
        shape: [N, C, H, W] of the input.
        repeats: timed passes of each.
    """
    engines = [InferenceEngine(folder, onednn=True) for folder in folders]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return [statistics.median(taken) for taken in times_in_turns(engines, image, repeats)]


def times_in_turns(engines: Sequence[Engine], image: np.ndarray, repeats: int, warm_up: int = 3) -> list[list[float]]:
    """Milliseconds of each pass of each engine over `image`, one pass of each in turn.

    Args:
        repeats: timed passes of each.
        warm_up: passes of each before that.
    """
    times: list[list[float]] = [[] for _ in engines]
    for turn in progress_bar(range(repeats + warm_up), desc="latency", unit="pass"):
        for engine, taken in zip(engines, times):
            start = time.perf_counter()
            engine(image)
            if turn >= warm_up:
                taken.append(1000 * (time.perf_counter() - start))
    return times
