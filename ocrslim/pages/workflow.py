"""The steps of `ocrslim compress --det DET --rec REC`, each done once, whatever ends the program in between."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.compression import (
    AFTER,
    BEFORE,
    JOURNAL,
    REWRITTEN,
    TOLERANCE,
    Advance,
    Journal,
    LabelFiles,
    Split,
    conclude,
    divide_labels,
    environment,
    image_hashes,
    is_whole,
    model_record,
    require_place,
)
from ocrslim.config import DETECTOR, RECOGNISER, Config
from ocrslim.errors import ConfigError
from ocrslim.inference import RUNTIMES
from ocrslim.pages.data import configured, files_in, split_pages, write_files
from ocrslim.pages.division import Divider, shared_minutes, target_of
from ocrslim.pages.measuring import PageMeter, Pair
from ocrslim.pages.networks import NetworkFile, Networks
from ocrslim.pages.request import LATENCY, PairRequest
from ocrslim.pages.results import Comparison, record_of
from ocrslim.pages.samples import write_pages
from ocrslim.pruning import load_base_network, untrained
from ocrslim.utils import check_writable, messages_above_bars

logger = logging.getLogger(__name__)

_SHARES = {"look": 12, "lines": 2, "build": 60, "divide": 40, "train": 0, "export": 8, "verify": 20, "show": 2}
_CHEAP = ("look", "lines")
_A_MINUTE = 15.0  # share of one that is trained
_READ = "pages.jsonl"
_TASKS = (DETECTOR, RECOGNISER)
_PARTS = ("calibration", "choice", "held_out")


def compress_pair(request: PairRequest, configs: Mapping[str, Config]) -> dict[str, Any]:
    """Make a detector and a recogniser smaller within one time budget; goes on with the run that the folder holds.

    Args:
        configs: of the two models by task, as `load_pair` reads them.

    Returns:
        the record, which is in `compress.json` as well.

    Raises:
        OcrSlimError: what is wrong with the request, its pages, its models or its folder.
    """
    for model in request.models().values():
        require_place(request.out, request.run, JOURNAL, model)
    _require_one_runtime(configs)
    configs = {task: untrained(config) for task, config in configs.items()}
    identity = request.identity(configs, image_hashes(request.images))
    check_writable(request.out)
    shares = {**_SHARES, "train": _A_MINUTE * request.minutes}
    with messages_above_bars(), Journal(request.run, identity, shares, configs[DETECTOR].overwrite, _CHEAP) as journal:
        record = _PairCompression(request, configs, journal).record()
    return conclude(request.out, journal, record)


def _require_one_runtime(configs: Mapping[str, Config]) -> None:
    runtimes = {task: config.export.runtime for task, config in configs.items()}
    if len(set(runtimes.values())) > 1:
        said = ", ".join(f"--{task} is run by {RUNTIMES[name].title}" for task, name in runtimes.items())
        raise ConfigError(f"{said}: a page's seconds are measured in one runtime: name it with --runtime")
    RUNTIMES[runtimes[DETECTOR]].require()


class _PairCompression:
    """One run; what a step found is a property, and the step is done where it was not."""

    def __init__(self, request: PairRequest, configs: Mapping[str, Config], journal: Journal):
        self._request, self._configs, self._journal = request, configs, journal
        export = configs[DETECTOR].export
        self._meter = self._metered(export.threads)

    def _metered(self, threads: int) -> PageMeter:
        pair = (self._configs[DETECTOR], self._configs[RECOGNISER])
        runtime = self._configs[DETECTOR].export.runtime
        return PageMeter(pair, runtime, threads, self._request.images, self._request.run / _READ)

    # the pages

    @functools.cached_property
    def _originals(self) -> dict[str, Networks]:
        return {task: self._networks_of(task, self._configs[task]) for task in _TASKS}

    def _networks_of(self, task: str, config: Config) -> Networks:
        placed = config.changed({"Global.save_model_dir": str(self._request.run / task)})
        return Networks(self._request.models()[task], self._configs[task], placed)

    @functools.cached_property
    def _first(self) -> Pair:
        return Pair(*(self._originals[task].as_it_came for task in _TASKS))

    @functools.cached_property
    def _parts(self) -> Split:
        """Which pages serve for what: those on which the pair as it came reads something."""

        def work(advance: Advance) -> dict[str, Any]:
            for task in _TASKS:  # what cannot be pruned is told before all pages are read
                load_base_network(self._configs[task])
            names = list(image_hashes(self._request.images))
            self._meter.read(self._first, [], names, advance)
            rows = self._meter.rows(self._first, names)
            parts = split_pages(rows, len(names), self._request.images, self._configs[DETECTOR].seed)
            return {name: list(getattr(parts, name)) for name in _PARTS}

        found = self._journal.do("look", "reading the pages", work)
        return Split(*(tuple(found[name]) for name in _PARTS))

    @functools.cached_property
    def _networks(self) -> dict[str, Networks]:
        """The networks of both models, with the data to prune them on."""
        run, images = self._request.run, self._request.images
        parts = self._parts

        def work(_: Advance) -> dict[str, Any]:
            rows = {row.page: row for row in self._meter.rows(self._first, (*parts.calibration, *parts.choice))}
            return {"lines": write_files(files_in(run), parts, rows, images, self._configs[DETECTOR])}

        def intact(_: dict[str, Any]) -> bool:
            files = files_in(run)
            return all(each.exists() for each in (files.pages, files.boxes, files.lines, files.texts))

        count = self._journal.do("lines", "cutting out lines", work, intact)["lines"]
        configs = {task: configured(self._configs[task], task, run, images, count) for task in _TASKS}
        return {task: Networks(self._request.models()[task], self._configs[task], configs[task]) for task in _TASKS}

    # the division

    @functools.cached_property
    def _divider(self) -> Divider:
        return Divider(self._networks, self._meter, self._parts.choice)

    @functools.cached_property
    def _division(self) -> dict[str, Any]:
        """Fractions of the MACs that are removed of each, and all that was tried."""
        divider = self._divider

        def build(advance: Advance) -> dict[str, Any]:
            divider.build(advance)
            return {}

        def work(advance: Advance) -> dict[str, Any]:
            chosen = divider.chosen(self._request.target, TOLERANCE, advance)
            tried = [trial.to_json() for trial in divider.measured]
            losses, target = divider.losses(chosen.removed), self._request.target
            if target is not None and chosen.times.ratio > 1 - target:
                asked = f"{1 - target:.0%} were asked for: lower --target by as much to have a pair that keeps it"
                logger.warning("the fastest pair takes %.0f %% of the seconds; %s", 100 * chosen.times.ratio, asked)
            return {"removed": chosen.removed, "chosen": chosen.to_json(), "tried": tried, "losses": losses}

        self._journal.do("build", "pruning and refitting", build)
        return self._journal.do("divide", "dividing the budget", work)

    # the training

    @functools.cached_property
    def _trained(self) -> dict[str, str]:
        """Checkpoints of the networks that were trained, by task."""
        removed, labels = self._division["removed"], self._labels
        minutes = shared_minutes(removed, self._division["losses"], self._request.minutes)

        def work(advance: Advance) -> dict[str, Any]:
            found = {}
            for task, some in minutes.items():
                found[task] = str(self._networks[task].trained(removed[task], some, labels))
                advance(some / self._request.minutes)
            return found

        def intact(found: dict[str, Any]) -> bool:
            return all(Path(f"{path}.pdparams").is_file() for path in found.values())

        return self._journal.do("train", "training", work, intact) if minutes else {}

    @functools.cached_property
    def _labels(self) -> LabelFiles | None:
        """The labels to learn from and to choose the best weights by; None without any."""
        request = self._request
        if request.labels is None:
            return None
        config = self._configs[DETECTOR].changed({"Eval.dataset.data_dir": str(request.images)})
        return divide_labels(config, request.labels, self._parts, request.run)

    # the files

    @functools.cached_property
    def _exported(self) -> dict[str, Any]:
        removed, trained, out = self._division["removed"], self._trained, self._request.out

        def work(advance: Advance) -> dict[str, Any]:
            found = {}
            for task in _TASKS:
                found[task] = self._networks[task].export(removed[task], trained.get(task), out / task)
                advance(0.5)
            return found

        def intact(found: dict[str, Any]) -> bool:
            return all(is_whole(found[task], out / task) for task in _TASKS)

        return self._journal.do("export", "exporting", work, intact)

    @functools.cached_property
    def _last(self) -> Pair:
        """The pair as it was written for the user."""
        assert self._exported
        runtime = RUNTIMES[self._configs[DETECTOR].export.runtime]
        files = [NetworkFile.at(runtime.file_of(self._request.out / task), own=True) for task in _TASKS]
        return Pair(*files)

    # what it brings and costs

    @functools.cached_property
    def _comparison(self) -> Comparison:
        rewritten = Pair(*(self._networks[task].rewritten for task in _TASKS))
        pairs = {BEFORE: self._first, REWRITTEN: rewritten, AFTER: self._last}
        meters = {threads: self._metered(threads) for threads in self._threads}

        def work(advance: Advance) -> dict[str, Any]:
            for meter in meters.values():
                meter.read(
                    *(self._first, [*pairs.values()], self._parts.held_out), lambda part: advance(part / len(meters))
                )
            return {}

        self._journal.do("verify", "measuring on pages held out", work)
        work(lambda _: None)  # which does nothing, unless files have been exported anew meanwhile
        labels = None if self._labels is None else self._labels.held_out
        return Comparison(pairs, meters, self._parts.held_out, labels, self._configs[DETECTOR])

    @property
    def _threads(self) -> Sequence[int]:
        """Numbers of threads: what is asked for first, then one and two, as far as there are processors."""
        usual = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
        return tuple(dict.fromkeys((self._configs[DETECTOR].export.threads, *usual)))

    @functools.cached_property
    def _samples(self) -> list[dict[str, Any]]:
        found, request = self._comparison, self._request

        def work(_: Advance) -> dict[str, Any]:
            rows = {name: found.rows(name) for name in (BEFORE, AFTER)}
            config = self._configs[DETECTOR]
            return {"samples": write_pages(rows, found.counts(), config, request.images, request.out)}

        def intact(known: dict[str, Any]) -> bool:
            return all((request.out / each["image"]).is_file() for each in known["samples"])

        return list(self._journal.do("show", "samples", work, intact)["samples"])

    def record(self) -> dict[str, Any]:
        """Do all steps that are not done; return the record."""
        request, exported = self._request, self._exported
        comparison, samples = self._comparison, self._samples
        parts = {name: list(getattr(self._parts, name)) for name in _PARTS}
        known = {
            **environment(request.command, self._configs[DETECTOR].seed),
            "images": {"folder": str(request.images), **parts, "labels": request.labels and str(request.labels)},
            "target": {"agreement_loss": TOLERANCE} if request.target is None else {LATENCY: request.target},
            "minutes": request.minutes,
            "pruned": target_of(self._division["removed"]),
            "tried": self._division["tried"],
            "samples": samples,
        }
        models = {task: self._described(task, exported[task]) for task in _TASKS}
        return record_of(known, models, comparison, self._journal.seconds)

    def _described(self, task: str, exported: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the record has of one of the models."""
        after = {"bytes": exported["bytes"], "params": exported["params"], "macs": exported["macs"]}
        return {
            "model": model_record(self._request.models()[task], self._configs[task]),
            "out": {
                "path": str(Path(task) / exported["folder"]),
                **{key: exported[key] for key in ("sha256", "format")},
            },
            "costs": {BEFORE: self._networks[task].original_costs.to_json(), AFTER: after},
            "pruned": self._division["removed"][task],
            "trained": task in self._trained,
            "export": {key: exported[key] for key in ("formats", "max_difference", "unverified", "clients")},
        }
