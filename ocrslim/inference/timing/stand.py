"""The process in which exported networks are timed: one runtime, one number of threads.

Thread pools and the handling of denormal numbers belong to a process: each runtime and number of threads has its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ocrslim.errors import OcrSlimError, WeightsError
from ocrslim.formats import input_sizes, require_image
from ocrslim.inference.exported import require_output
from ocrslim.inference.runtimes import RUNTIMES, NamedEngine
from ocrslim.tasks import Task

END = None  # after all that a request gives


@dataclass(frozen=True)
class Pass:
    """Milliseconds of one forward pass.

    Attributes:
        network: number of the network.
        wall: by the clock on the wall.
        cpu: of the CPU, of all threads of the process.
        thread: of the CPU, of the calling thread.
    """

    network: int
    wall: float
    cpu: float
    thread: float


class Stand:
    """Networks that are open, by number; each method gives what is sent back."""

    def __init__(self, runtime: str, threads: int):
        self.threads = threads
        self._runtime = RUNTIMES[runtime]
        self._engines: dict[int, NamedEngine] = {}

    def open(self, network: int, path: Path, own: bool) -> Iterator[None]:
        """Open a network: its file, and whether this program has just written it."""
        self._engines[network] = self._runtime.open(path, self.threads, own)
        yield from ()

    def engine(self, network: int) -> NamedEngine:
        """Return an open network."""
        return self._engines[network]

    def close(self, network: int) -> Iterator[None]:
        """Forget a network."""
        del self._engines[network]
        yield from ()

    def check(self, network: int, path: Path, task: Task, shape: Sequence[int]) -> Iterator[str]:
        """Run a network once, which raises where it does not fit the task or the shape; gives the kernels that ran."""
        require_image(path, input_sizes(path), tuple(shape))
        image, engine = _image(shape), self._engines[network]
        require_output(path, task, image, engine(image))
        yield engine.kernels

    def time(self, networks: Sequence[int], shape: Sequence[int], rounds: int, warm_up: int) -> Iterator[Pass | str]:
        """Run the networks in turns, give each pass; "warm" stands for one that is not timed."""
        image = _image(shape)
        for turn in range(warm_up + rounds):
            for network in networks:
                found = _timed(network, self._engines[network], image)
                yield found if turn >= warm_up else "warm"


_CLOCKS: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time, time.thread_time)


def _timed(network: int, engine: NamedEngine, image: np.ndarray) -> Pass:
    before = [clock() for clock in _CLOCKS]
    engine(image)
    return Pass(network, *(1000 * (clock() - start) for clock, start in zip(_CLOCKS, before)))


def _image(shape: Sequence[int]) -> np.ndarray:
    """Noise, the same every time: what a pass takes does not depend on what is seen, denormal numbers aside."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def serve(connection: Connection, kind: type[Stand] = Stand) -> None:
    """Answer requests, (name of a method of a stand, its arguments), until the other side closes."""
    stand = kind(*connection.recv())
    while True:
        name, arguments = connection.recv()
        try:
            for found in getattr(stand, name)(*arguments):
                connection.send(found)
            connection.send(END)
        except OcrSlimError as error:
            connection.send(error)
        except (RuntimeError, ValueError, MemoryError) as error:  # of a runtime
            connection.send(WeightsError(f"{type(error).__name__}: {error}"))


def main(kind: type[Stand] = Stand) -> int:
    """Serve the connection whose number is the first argument, with a stand of that kind."""
    try:
        serve(Connection(int(sys.argv[1])), kind)
    except (EOFError, OSError):
        return 1
    return 0
