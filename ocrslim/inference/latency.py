"""Latency of engines, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ocrslim.inference.engines import Engine, InferenceEngine
from ocrslim.utils import progress_bar


def measure_latency(folders: Sequence[Path], shape: Sequence[int], repeats: int = 20) -> list[float]:
    """Return the median milliseconds of one forward pass of each exported folder, run in turns.

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


def times_in_turns(
    engines: Sequence[Engine],
    image: np.ndarray,
    repeats: int,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Return the milliseconds of each pass of each engine over `image`, one pass of each in turn.

    Args:
        repeats: timed passes of each.
        warm_up: passes of each before that.
        clock: in seconds; `time.process_time` counts what the passes take of the CPU, whatever else runs beside them.
    """
    times: list[list[float]] = [[] for _ in engines]
    for turn in progress_bar(range(repeats + warm_up), desc="latency", unit="pass"):
        for engine, taken in zip(engines, times):
            start = clock()
            engine(image)
            if turn >= warm_up:
                taken.append(1000 * (clock() - start))
    return times
