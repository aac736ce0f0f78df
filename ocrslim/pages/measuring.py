"""Pages read by pairs of networks, and the seconds that each pair takes: measured once, and kept.

Every page is read by all pairs that are asked for, one after the other, with the pair as it came among them: whatever
else the machine does meanwhile slows all of them. With one thread, seconds are those of the CPU, which other programs
disturb little, else by the clock on the wall.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.errors import DataError
from ocrslim.pages.networks import NetworkFile
from ocrslim.pages.process import PageProcess
from ocrslim.pages.stand import PageReading, Seconds
from ocrslim.tasks import Line
from ocrslim.utils import JsonLines, progress_bar

logger = logging.getLogger(__name__)

_OPEN = 2  # recognisers, beside the one that came
_Key = tuple[str, str, str, str]  # digests of the two networks, page, runtime and threads


@dataclass(frozen=True)
class Pair:
    """A detector and a recogniser."""

    detector: NetworkFile
    recogniser: NetworkFile


@dataclass(frozen=True)
class PageRow:
    """What a pair read on a page.

    Attributes:
        boxes: outlines that the detector found.
        seconds: that the pair took.
        first: seconds that the pair as it came took, in the same turn.
    """

    page: str
    boxes: list[np.ndarray]
    lines: list[Line]
    seconds: Seconds
    first: Seconds


@dataclass(frozen=True)
class PageTimes:
    """Mean seconds a page.

    Attributes:
        ratio: to the pair as it came, over the same pages, and the ends of its 95 % interval.
    """

    detection: float
    recognition: float
    networks: float
    ratio: float
    low: float
    high: float

    @property
    def page(self) -> float:
        """Of the whole page."""
        return self.detection + self.recognition


class PageMeter:
    """Reads the pages of a folder in one runtime with one number of threads."""

    def __init__(self, configs: tuple[Config, Config], runtime: str, threads: int, images: Path, record: Path):
        """
        Args:
            configs: of the detectors and of the recognisers.
            runtime: a key of `RUNTIMES`.
            images: folder of the pages.
            record: file of what was read; a run that was ended goes on with it.
        """
        self._configs, self._runtime, self._threads, self._images = configs, runtime, threads, images
        self._record = JsonLines(record)
        record.parent.mkdir(parents=True, exist_ok=True)
        self._record.cut_at_last_line()
        self._rows: dict[_Key, PageRow] = {}
        for line in self._record.lines():
            entry = json.loads(line)
            self._rows[tuple(entry["key"])] = _row_of(entry)

    def read(
        self,
        first: Pair,
        pairs: Sequence[Pair],
        pages: Sequence[str],
        advance: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Read pages with pairs, as far as that was not done before.

        A page that cannot be read is left out, with a warning.

        Args:
            first: the pair as it came, which is read among the others.
            advance: told which fraction more is done.
        """
        groups = _open_together(first, list(dict.fromkeys([first, *pairs])))
        for group in groups:
            missing = {page: [pair for pair in group if self._key(pair, page) not in self._rows] for page in pages}
            self._read({page: lacking for page, lacking in missing.items() if lacking}, first, len(groups), advance)

    def _read(
        self, missing: Mapping[str, list[Pair]], first: Pair, groups: int, advance: Callable[[float], object]
    ) -> None:
        if not missing:
            return
        with PageProcess(self._runtime, self._threads, *self._configs) as process:
            opened = _Opened(process, first, {pair for lacking in missing.values() for pair in lacking})
            warm = False
            for page in progress_bar(list(missing), inner=True, desc="pages", unit="page"):
                turns = opened.of(first, missing[page])
                try:
                    warm = warm or bool(list(process.read(self._images / page, turns)))
                    readings = list(process.read(self._images / page, turns))
                except DataError as error:
                    logger.warning("left out: %s", error)
                    continue
                self._keep(page, first, {opened.pair(reading): reading for reading in readings}, missing[page])
                advance(1 / len(missing) / groups)

    def rows(self, pair: Pair, pages: Iterable[str]) -> list[PageRow]:
        """Return what a pair read, of those pages that could be read."""
        keys = (self._key(pair, page) for page in pages)
        return [self._rows[key] for key in keys if key in self._rows]

    def _keep(self, page: str, first: Pair, read: Mapping[Pair, PageReading], wanted: Iterable[Pair]) -> None:
        clock = "cpu" if self._threads == 1 else "wall"
        base: Seconds = getattr(read[first], clock)
        for pair in wanted:
            found = read[pair]
            row = PageRow(page, found.boxes, found.lines, getattr(found, clock), base)
            key = self._key(pair, page)
            self._record.append({"key": key, **_entry_of(row)})
            self._rows[key] = row

    def _key(self, pair: Pair, page: str) -> _Key:
        return (pair.detector.digest, pair.recogniser.digest, page, f"{self._runtime}, {self._threads}")


class _Opened:
    """The networks of pairs, open in a process."""

    def __init__(self, process: PageProcess, first: Pair, pairs: Iterable[Pair]):
        self._pairs = list(dict.fromkeys([first, *sorted(pairs, key=lambda pair: pair != first)]))
        networks = dict.fromkeys(file for pair in self._pairs for file in (pair.detector, pair.recogniser))
        self._numbers = {file: process.open(file.file, file.own) for file in networks}
        detector, recogniser = first.detector, first.recogniser
        process.require_pair((self._numbers[detector], self._numbers[recogniser]), (detector.file, recogniser.file))

    def of(self, first: Pair, wanted: Sequence[Pair]) -> dict[int, list[int]]:
        """Return the numbers of recognisers by those of detectors."""
        turns: dict[int, list[int]] = {}
        for pair in dict.fromkeys([first, *wanted]):
            turns.setdefault(self._numbers[pair.detector], []).append(self._numbers[pair.recogniser])
        return turns

    def pair(self, reading: PageReading) -> Pair:
        """Return the pair that read a page."""
        named = {number: file for file, number in self._numbers.items()}
        return Pair(named[reading.detector], named[reading.recogniser])


def _open_together(first: Pair, pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Divide pairs into those that are open at the same time: few recognisers, which take gigabytes for a wide line."""
    others = list(dict.fromkeys(pair.recogniser for pair in pairs if pair.recogniser != first.recogniser))
    groups = [others[start : start + _OPEN] for start in range(0, len(others), _OPEN)] or [[]]
    groups[0] = [first.recogniser, *groups[0]]
    return [[pair for pair in pairs if pair.recogniser in group] for group in groups]


def times_of(rows: Sequence[PageRow], resamples: int = 2000) -> PageTimes:
    """Return the mean seconds of rows, at least one, and their ratio with its interval (bootstrap over pages)."""
    taken, first = (np.array([getattr(row, name) for row in rows]) for name in ("seconds", "first"))
    means = taken.mean(axis=0)
    pages, others = taken[:, :2].sum(axis=1), first[:, :2].sum(axis=1)
    draws = np.random.default_rng(0).integers(len(rows), size=(resamples, len(rows)))
    low, high = np.percentile(pages[draws].sum(axis=1) / others[draws].sum(axis=1), (2.5, 97.5))
    detection, recognition, networks = (float(mean) for mean in means)
    return PageTimes(detection, recognition, networks, float(pages.sum() / others.sum()), float(low), float(high))


def _entry_of(row: PageRow) -> dict[str, Any]:
    return {
        "page": row.page,
        "boxes": [np.asarray(box, dtype=np.float64).round(1).tolist() for box in row.boxes],
        "lines": [line.to_json() for line in row.lines],
        "seconds": list(row.seconds),
        "first": list(row.first),
    }


def _row_of(entry: Mapping[str, Any]) -> PageRow:
    lines = [Line(np.asarray(line["points"], np.float32), line["text"], line["score"]) for line in entry["lines"]]
    boxes = [np.asarray(box, np.float32) for box in entry["boxes"]]
    return PageRow(entry["page"], boxes, lines, Seconds(*entry["seconds"]), Seconds(*entry["first"]))
