"""A process that measures points for another one; its first argument is the number of a connection.

Processes, as Paddle Inference does not bear several threads that load and run networks (3.1.1 ends with a
segmentation fault, sooner or later). What comes back is sent image by image, so nothing is lost with a worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.graph import Program
from ocrslim.sensitivity.workers.measure import Measuring, Task


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know once.

    Attributes:
        program: the unpruned network, traced with free sizes.
        arrays: its parameters and buffers by state-dict key.
        labelled: the evaluation images.
        config: with their transforms and the post-processing.
        order: index of each image of the measuring order.
        memory: bytes for decoded images, and as many for what is kept of the unpruned network.
        folder: for what does not fit there.
        use_gpu: run on the GPU.
    """

    program: Program
    arrays: Mapping[str, np.ndarray]
    labelled: LabelledSet
    config: Config
    order: Sequence[int]
    memory: int
    folder: Path
    use_gpu: bool


@dataclass(frozen=True)
class Finished:
    """A task is done: seconds spent so far by what on, and bytes kept of images and of the unpruned network."""

    seconds: Mapping[str, float]
    images: int
    cached: int


def serve(connection: Connection) -> None:
    """Measure what comes in until the other side closes."""
    setup: Setup = connection.recv()
    try:
        measuring, report = _prepare(setup)
    except Exception as error:  # such as a network that the runtime has no step for
        connection.send(error)
        connection.recv()  # stay until it is read
        return
    while True:
        task: Task | None = connection.recv()
        if task is None:
            return
        try:
            for counts in measuring.measure(task):
                connection.send(counts)
                if connection.poll():  # nothing is due: the other side is gone
                    return
            connection.send(report())
        except OSError:
            raise
        except Exception as error:  # it is for the other side to judge
            connection.send(error)


def _prepare(setup: Setup) -> tuple[Measuring, Callable[[], Finished]]:
    from ocrslim.data import EvalSet
    from ocrslim.evaluation import Scorer
    from ocrslim.inference import ActivationCache, GroupRunner, RuntimeNetwork, Variant
    from ocrslim.utils import Clock

    clock = Clock()
    images = EvalSet(setup.labelled, setup.config, setup.memory, setup.folder)
    network = RuntimeNetwork(setup.program, setup.arrays, setup.config.task.probe_shape, setup.use_gpu)
    fronts = ActivationCache(network, images, setup.memory, setup.folder, clock)

    def make_runner(variant: Variant) -> GroupRunner:
        return GroupRunner(network, variant.group, fronts)

    measuring = Measuring(make_runner, images, setup.order, Scorer(setup.config), clock)

    def report() -> Finished:
        return Finished(dict(clock.seconds), images.store.in_memory + images.store.on_disk, measuring.cached)

    return measuring, report


def main() -> int:
    """Serve the connection whose number is the first argument."""
    import ocrslim.ppocr  # noqa: F401  takes a second, which the setup takes as well

    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        return 1
    return 0
