"""What a compression of a pair works on: both models, the pages and the user's labels, each in its parts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ocrslim.compression import Advance, Journal, LabelFiles, Split, divide_labels, image_hashes
from ocrslim.config import DETECTOR, RECOGNISER, Config
from ocrslim.pages.data import configured, files_in, split_pages, write_files
from ocrslim.pages.measuring import PageMeter, Pair
from ocrslim.pages.networks import Networks
from ocrslim.pages.request import PairRequest
from ocrslim.pruning import load_base_network

TASKS = (DETECTOR, RECOGNISER)
PARTS = ("calibration", "choice", "held_out")
_READ = "pages.jsonl"


class PairMaterial:
    """Models, pages and labels; what takes long is a step of the journal, done when it is first asked for.

    Attributes:
        request: what is asked for.
        configs: of the models as they came, by task.
        journal: of the run.
        meter: reads pages with the number of threads that is asked for.
    """

    def __init__(self, request: PairRequest, configs: Mapping[str, Config], journal: Journal):
        self.request, self.configs, self.journal = request, configs, journal
        self.meter = self.metered(configs[DETECTOR].export.threads)

    def metered(self, threads: int) -> PageMeter:
        """What reads pages with so many threads, and keeps what was read."""
        pair = (self.configs[DETECTOR], self.configs[RECOGNISER])
        runtime = self.configs[DETECTOR].export.runtime
        return PageMeter(pair, runtime, threads, self.request.images, self.request.run / _READ)

    @functools.cached_property
    def _originals(self) -> dict[str, Networks]:
        return {task: self._networks_of(task, self.configs[task]) for task in TASKS}

    def _networks_of(self, task: str, config: Config) -> Networks:
        placed = config.changed({"Global.save_model_dir": str(self.request.run / task)})
        return Networks(self.request.models()[task], self.configs[task], placed)

    @functools.cached_property
    def first(self) -> Pair:
        """The pair as it came."""
        return Pair(*(self._originals[task].as_it_came for task in TASKS))

    @functools.cached_property
    def parts(self) -> Split:
        """Which pages serve for what: those on which the pair as it came reads something."""

        def work(advance: Advance) -> dict[str, Any]:
            for task in TASKS:  # what cannot be pruned is told before all pages are read
                load_base_network(self.configs[task])
            names = list(image_hashes(self.request.images))
            self.meter.read(self.first, [], names, advance)
            rows = self.meter.rows(self.first, names)
            parts = split_pages(rows, len(names), self.request.images, self.configs[DETECTOR].seed)
            return {name: list(getattr(parts, name)) for name in PARTS}

        found = self.journal.do("look", "reading the pages", work)
        return Split(*(tuple(found[name]) for name in PARTS))

    @functools.cached_property
    def networks(self) -> dict[str, Networks]:
        """The networks of both models, with the data to prune them on."""
        run, images = self.request.run, self.request.images
        parts = self.parts

        def work(_: Advance) -> dict[str, Any]:
            rows = {row.page: row for row in self.meter.rows(self.first, (*parts.calibration, *parts.choice))}
            return {"lines": write_files(files_in(run), parts, rows, images, self.configs[DETECTOR])}

        def intact(_: dict[str, Any]) -> bool:
            files = files_in(run)
            return all(each.exists() for each in (files.pages, files.boxes, files.lines, files.texts))

        count = self.journal.do("lines", "cutting out lines", work, intact)["lines"]
        configs = {task: configured(self.configs[task], task, run, images, count) for task in TASKS}
        return {task: Networks(self.request.models()[task], self.configs[task], configs[task]) for task in TASKS}

    @functools.cached_property
    def labels(self) -> LabelFiles | None:
        """The labels to learn from and to choose the best weights by; None without any."""
        request = self.request
        if request.labels is None:
            return None
        config = self.configs[DETECTOR].changed({"Eval.dataset.data_dir": str(request.images)})
        return divide_labels(config, request.labels, self.parts, request.run)
