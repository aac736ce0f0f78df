"""The network input's size for an image and the memory that it takes, computed before the network runs."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ocrslim.errors import DataError
from ocrslim.tasks import DataTask, Size, Task
from ocrslim.utils import GIB

logger = logging.getLogger(__name__)

TRANSFORM_BYTES = 60  # a pixel of the network's input: three channels, as float32 in three steps, and their source
SMALL = 4_000_000  # pixels of an input that needs no thought
WORTH_SAYING = 2 * GIB
_SPARE = 1.2  # what the allocator keeps beside what the network asks for
_UNKNOWN = 1000.0  # bytes a pixel where they cannot be measured; DBFPN with 256 channels takes 780
_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")


def available_memory() -> int:
    """Bytes that this process can still get: of the machine, of its container, or by its own limit (ulimit -v)."""
    available = psutil.virtual_memory().available
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        available = min(available, most - psutil.Process().memory_info().vms)
    with contextlib.suppress(OSError, ValueError):  # no cgroup of version 2, or no limit ("max")
        most, used = (int(Path(name).read_text(encoding="ascii")) for name in _CGROUP)
        available = min(available, most - used)
    return available


def require_memory_to_transform(size: Size, becomes: Size, task: DataTask) -> None:
    """Refuse an image whose input would not even fit into memory by itself.

    Raises:
        ValueError: saying how large it becomes.
    """
    need, available = TRANSFORM_BYTES * math.prod(becomes), available_memory()
    if need > available:
        raise ValueError(_memory_text(size, becomes, need, task, available))


class NetworkMemory:
    """The memory that an engine takes for images of a size."""

    def __init__(self, engine: Callable[[np.ndarray], Any], task: Task):
        """`engine` is run on a small image once, where an image is large enough to ask."""
        self._engine, self._task = engine, task
        self._per_pixel: float | None = None

    def require(self, name: str, size: Size, becomes: Size) -> None:
        """Say so where an image takes much memory, and refuse it where it takes more than there is.

        Args:
            name: of the image, for messages.
            size: of the image.
            becomes: of the network's input.

        Raises:
            DataError: there is not so much memory.
        """
        pixels = math.prod(becomes)
        if pixels <= SMALL:
            return
        need, available = int(pixels * self._bytes_per_pixel()), available_memory()
        if need > available:
            raise DataError(f"{name}: {_memory_text(size, becomes, need, self._task, available)}")
        if need > WORTH_SAYING:
            _say_once(f"{name}: {_memory_text(size, becomes, need, self._task)}")

    def _bytes_per_pixel(self) -> float:
        """Return the bytes that the network takes for a pixel of its input; the same at every size."""
        if self._per_pixel is None:
            shape = self._task.probe_shape
            measured = _peak(lambda: self._engine(np.zeros(shape, np.float32)), shape) / math.prod(shape[2:])
            self._per_pixel = _SPARE * measured + TRANSFORM_BYTES
        return self._per_pixel


def _peak(run: Callable[[], Any], shape: Sequence[int]) -> float:
    """Return the bytes that Paddle's allocator gave out at the same time during `run`, beyond what it had before."""
    from paddle.base import core

    try:
        before = core.host_memory_stat_current_value("Allocated", 0)
        core.host_memory_stat_reset_peak_value("Allocated", 0)
        run()
        return core.host_memory_stat_peak_value("Allocated", 0) - before
    except Exception as error:  # an engine that takes other shapes only, a Paddle without these figures
        logger.debug("memory is not measured: %s", error)
        return _UNKNOWN * math.prod(shape[2:])


@functools.cache
def _say_once(text: str) -> None:
    logger.warning(text)


def _memory_text(size: Size, becomes: Size, need: int, task: DataTask, available: int | None = None) -> str:
    there = "" if available is None else f", and {available / GIB:.1f} GiB are free"
    return (
        f"{size[1]}x{size[0]} pixels become {becomes[1]}x{becomes[0]} for the network, "
        f"which takes about {need / GIB:.1f} GiB of memory{there}; {task.smaller_input}"
    )
