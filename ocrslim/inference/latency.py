"""Latency of engines, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ocrslim.inference.engines import Engine
from ocrslim.utils import progress_bar


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
