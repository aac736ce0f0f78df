"""The process that reads pages for this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ocrslim.config import Config
from ocrslim.inference import TimingProcess
from ocrslim.pages.stand import PageReading


class PageProcess(TimingProcess):
    """Reads pages with detectors and recognisers in turns; a context manager, whose process ends with it."""

    stand: ClassVar[str] = "ocrslim.pages.stand"

    def __init__(self, runtime: str, threads: int, detection: Config, recognition: Config):
        """
        Args:
            runtime: a key of `RUNTIMES`.
            detection, recognition: of all detectors and of all recognisers.

        Raises:
            OcrSlimError: the runtime is not installed.
        """
        super().__init__(runtime, threads)
        self._configs = (detection, recognition)
        list(self.ask("configure", detection, recognition))

    def __enter__(self) -> PageProcess:
        return self

    def require_pair(self, numbers: tuple[int, int], files: tuple[Path, Path]) -> None:
        """Require that two open networks are a detector and a recogniser.

        Args:
            numbers: of the networks.
            files: that they were opened from, for messages.

        Raises:
            WeightsError: one is not.
        """
        for number, file, config in zip(numbers, files, self._configs):
            self.check(number, file, config.task, config.task.probe_shape)

    def read(self, page: Path, pairs: Mapping[int, Sequence[int]]) -> Iterator[PageReading]:
        """Read a page with pairs of networks, a detector's boxes by each recogniser that is paired with it.

        Args:
            pairs: numbers of recognisers by number of a detector.

        Raises:
            DataError: the page cannot be read.
            WeightsError: a network does not run.
        """
        yield from self.ask("read", page, {number: tuple(others) for number, others in pairs.items()})
