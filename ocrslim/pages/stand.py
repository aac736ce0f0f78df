"""The process in which pages are read and timed: one runtime, one number of threads, several networks in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from ocrslim.config import Config
from ocrslim.inference import Engine, Output, Stand, serve_stand
from ocrslim.pages.reader import PageReader
from ocrslim.tasks import Line

T = TypeVar("T")

_CLOCKS: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time)


class Seconds(NamedTuple):
    """Seconds that a page takes, of which its file's decoding is no part.

    Attributes:
        detection: from the page's pixels to the boxes: resizing, the detector, its post-processing.
        recognition: from the boxes to the texts: cutting out, resizing, the recogniser, decoding.
        networks: what the two networks take of both.
    """

    detection: float
    recognition: float
    networks: float

    @property
    def page(self) -> float:
        """Seconds of the whole page."""
        return self.detection + self.recognition


@dataclass(frozen=True)
class PageReading:
    """What one pair of networks reads on a page, and the seconds that it takes.

    Attributes:
        detector, recogniser: numbers of the networks.
        boxes: outlines that the detector found.
        wall: by the clock on the wall.
        cpu: of the CPU, of all threads of the process.
    """

    detector: int
    recogniser: int
    boxes: list[np.ndarray]
    lines: list[Line]
    wall: Seconds
    cpu: Seconds


class PageStand(Stand):
    """Networks that are open, and pages that they read."""

    _reader: PageReader

    def configure(self, detection: Config, recognition: Config) -> Iterator[None]:
        """Take the configurations of all detectors and of all recognisers."""
        cv2.setNumThreads(self.threads)
        self._reader = PageReader(detection, recognition)
        yield from ()

    def read(self, page: Path, pairs: Mapping[int, Sequence[int]]) -> Iterator[PageReading]:
        """Read a page with each detector once, and its boxes with each recogniser that is paired with it.

        Args:
            pairs: numbers of recognisers by number of a detector.
        """
        pixels = self._reader.pixels(page)
        for detector, recognisers in pairs.items():
            finding = _Timed(self.engine(detector))
            boxes = finding.step(self._reader.boxes, pixels)
            for recogniser in recognisers:
                reading = _Timed(self.engine(recogniser))
                lines = reading.step(self._reader.lines, pixels, boxes)
                wall, cpu = (Seconds(*taken) for taken in zip(finding.total, reading.total, finding.plus(reading)))
                yield PageReading(detector, recogniser, boxes, lines, wall, cpu)


class _Timed:
    """A network whose passes are timed, and the step that calls it.

    Attributes:
        total: seconds of the step, by each clock.
        passes: seconds of the network in it.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.total = self.passes = np.zeros(len(_CLOCKS))

    def step(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a step, a function of the network and of `arguments`; return what it gives."""
        before = _now()
        found = work(self, *arguments)
        self.total = _now() - before
        return found

    def plus(self, other: _Timed) -> np.ndarray:
        """Return the seconds of both networks."""
        return self.passes + other.passes

    def __call__(self, image: np.ndarray) -> Output:
        before = _now()
        found = self._engine(image)
        self.passes = self.passes + _now() - before
        return found


def _now() -> np.ndarray:
    return np.array([clock() for clock in _CLOCKS])


def main() -> int:
    """Serve the connection whose number is the first argument."""
    return serve_stand(PageStand)
