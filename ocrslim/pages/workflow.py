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
    conclude,
    environment,
    image_hashes,
    is_whole,
    model_record,
    require_place,
)
from ocrslim.config import DETECTOR, Config
from ocrslim.errors import ConfigError
from ocrslim.inference import RUNTIMES
from ocrslim.pages.division import Divider, shared_minutes, target_of
from ocrslim.pages.material import PARTS, TASKS, PairMaterial
from ocrslim.pages.measuring import Pair
from ocrslim.pages.networks import NetworkFile
from ocrslim.pages.request import LATENCY, PairRequest
from ocrslim.pages.results import Comparison, record_of
from ocrslim.pages.samples import write_pages
from ocrslim.pruning import untrained
from ocrslim.utils import check_writable, messages_above_bars

logger = logging.getLogger(__name__)

_SHARES = {"look": 12, "lines": 2, "build": 60, "divide": 40, "train": 0, "export": 8, "verify": 20, "show": 2}
_CHEAP = ("look", "lines")
_A_MINUTE = 15.0  # share of one that is trained


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
        record = _PairCompression(PairMaterial(request, configs, journal)).record()
    return conclude(request.out, journal, record)


def _require_one_runtime(configs: Mapping[str, Config]) -> None:
    runtimes = {task: config.export.runtime for task, config in configs.items()}
    if len(set(runtimes.values())) > 1:
        said = ", ".join(f"--{task} is run by {RUNTIMES[name].title}" for task, name in runtimes.items())
        raise ConfigError(f"{said}: a page's seconds are measured in one runtime: name it with --runtime")
    RUNTIMES[runtimes[DETECTOR]].require()


class _PairCompression:
    """One run; what a step found is a property, and the step is done where it was not."""

    def __init__(self, material: PairMaterial):
        self._material, self._request, self._journal = material, material.request, material.journal

    # the division

    @functools.cached_property
    def _divider(self) -> Divider:
        return Divider(self._material.networks, self._material.meter, self._material.parts.choice)

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
        removed, labels = self._division["removed"], self._material.labels
        minutes = shared_minutes(removed, self._division["losses"], self._request.minutes)

        def work(advance: Advance) -> dict[str, Any]:
            found = {}
            for task, some in minutes.items():
                found[task] = str(self._material.networks[task].trained(removed[task], some, labels))
                advance(some / self._request.minutes)
            return found

        def intact(found: dict[str, Any]) -> bool:
            return all(Path(f"{path}.pdparams").is_file() for path in found.values())

        return self._journal.do("train", "training", work, intact) if minutes else {}

    # the files

    @functools.cached_property
    def _exported(self) -> dict[str, Any]:
        removed, trained, out = self._division["removed"], self._trained, self._request.out

        def work(advance: Advance) -> dict[str, Any]:
            found = {}
            for task in TASKS:
                found[task] = self._material.networks[task].export(removed[task], trained.get(task), out / task)
                advance(0.5)
            return found

        def intact(found: dict[str, Any]) -> bool:
            return all(is_whole(found[task], out / task) for task in TASKS)

        return self._journal.do("export", "exporting", work, intact)

    @functools.cached_property
    def _last(self) -> Pair:
        """The pair as it was written for the user."""
        assert self._exported
        runtime = RUNTIMES[self._material.configs[DETECTOR].export.runtime]
        files = [NetworkFile.at(runtime.file_of(self._request.out / task), own=True) for task in TASKS]
        return Pair(*files)

    # what it brings and costs

    @functools.cached_property
    def _comparison(self) -> Comparison:
        material, held_out = self._material, self._material.parts.held_out
        rewritten = Pair(*(material.networks[task].rewritten for task in TASKS))
        pairs = {BEFORE: material.first, REWRITTEN: rewritten, AFTER: self._last}
        meters = {threads: material.metered(threads) for threads in self._threads}

        def work(advance: Advance) -> dict[str, Any]:
            for meter in meters.values():
                meter.read(material.first, [*pairs.values()], held_out, lambda part: advance(part / len(meters)))
            return {}

        self._journal.do("verify", "measuring on pages held out", work)
        work(lambda _: None)  # which does nothing, unless files have been exported anew meanwhile
        labels = None if material.labels is None else material.labels.held_out
        return Comparison(pairs, meters, held_out, labels, material.configs[DETECTOR])

    @property
    def _threads(self) -> Sequence[int]:
        """Numbers of threads: what is asked for first, then one and two, as far as there are processors."""
        usual = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
        return tuple(dict.fromkeys((self._material.configs[DETECTOR].export.threads, *usual)))

    @functools.cached_property
    def _samples(self) -> list[dict[str, Any]]:
        found, request = self._comparison, self._request

        def work(_: Advance) -> dict[str, Any]:
            rows = {name: found.rows(name) for name in (BEFORE, AFTER)}
            config = self._material.configs[DETECTOR]
            return {"samples": write_pages(rows, found.counts(), config, request.images, request.out)}

        def intact(known: dict[str, Any]) -> bool:
            return all((request.out / each["image"]).is_file() for each in known["samples"])

        return list(self._journal.do("show", "samples", work, intact)["samples"])

    def record(self) -> dict[str, Any]:
        """Do all steps that are not done; return the record."""
        request, exported = self._request, self._exported
        comparison, samples = self._comparison, self._samples
        parts = {name: list(getattr(self._material.parts, name)) for name in PARTS}
        known = {
            **environment(request.command, self._material.configs[DETECTOR].seed),
            "images": {"folder": str(request.images), **parts, "labels": request.labels and str(request.labels)},
            "target": {"agreement_loss": TOLERANCE} if request.target is None else {LATENCY: request.target},
            "minutes": request.minutes,
            "pruned": target_of(self._division["removed"]),
            "tried": self._division["tried"],
            "samples": samples,
        }
        models = {task: self._described(task, exported[task]) for task in TASKS}
        return record_of(known, models, comparison, self._journal.seconds)

    def _described(self, task: str, exported: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the record has of one of the models."""
        after = {"bytes": exported["bytes"], "params": exported["params"], "macs": exported["macs"]}
        return {
            "model": model_record(self._request.models()[task], self._material.configs[task]),
            "out": {
                "path": str(Path(task) / exported["folder"]),
                **{key: exported[key] for key in ("sha256", "format")},
            },
            "costs": {BEFORE: self._material.networks[task].original_costs.to_json(), AFTER: after},
            "pruned": self._division["removed"][task],
            "trained": task in self._trained,
            "export": {key: exported[key] for key in ("formats", "max_difference", "unverified", "clients")},
        }
