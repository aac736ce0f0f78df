"""Messages between the process that runs an analysis and its workers.

A worker gets one `Setup`, then jobs. For each job it sends the counts of one image after the other, then `Finished`;
or the exception that ended it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data import LabelledSet
from ocrslim.graph import Program


@dataclass(frozen=True)
class Setup:
    """Data that a worker needs once.

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
class Job:
    """A point to measure on some images.

    Attributes:
        layer: name of the pruned group; None for the unpruned network.
        ratio: fraction of its channels that is removed.
        start: first image, in the measuring order.
        stop: behind the last one.
        variant: what a runner loads; not looked at where the runner has the point already.
    """

    layer: str | None
    ratio: float
    start: int
    stop: int
    variant: Any

    def __str__(self) -> str:
        return "the unpruned network" if self.layer is None else f"{self.layer} {self.ratio:g}"


@dataclass(frozen=True)
class Finished:
    """The end of a job.

    Attributes:
        seconds: spent so far, by activity.
        images: bytes kept of decoded images.
        cached: bytes kept of the unpruned network.
    """

    seconds: Mapping[str, float]
    images: int
    cached: int
