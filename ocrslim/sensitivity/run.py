"""A whole analysis by a configuration: what is measured, how, and what came out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from ocrslim.config import Config
from ocrslim.data import EvalSet, NetworkMemory, scan_evaluation
from ocrslim.errors import ArtifactError
from ocrslim.formats import read_sensitivities
from ocrslim.inference import DygraphEngine
from ocrslim.pruning import load_scored, match_groups, require_patterns
from ocrslim.report import SensitivityPicture, draw_sensitivities
from ocrslim.sensitivity.analyzer import analyse, conclude, start_processes
from ocrslim.sensitivity.results.store import (
    JOURNALS,
    PICTURES,
    Measurements,
    check_readable,
    open_measurements,
    read_counts,
)
from ocrslim.sensitivity.results.table import RECORD, TABLE, check_names
from ocrslim.sensitivity.search.search import Point
from ocrslim.sensitivity.settings import Method, Study
from ocrslim.sensitivity.sharding import share_of
from ocrslim.utils import GIB, check_writable, hash_value

_SECTIONS = ("Architecture", "Eval", "PostProcess")


@dataclass(frozen=True)
class SensitivityResult:
    """An analysis and the folder that holds it.

    Attributes:
        groups: names of the groups that were asked for (state-dict keys).
    """

    study: Study
    groups: Sequence[str]
    measured: Measurements
    method: Method

    @property
    def table_path(self) -> Path:
        """The file `sen.pickle`."""
        return self.measured.folder / TABLE

    @property
    def names(self) -> list[str]:
        """The public names of the groups that were asked for."""
        return [self.study.public(name) for name in self.groups]

    @property
    def layers(self) -> dict[str, Any]:
        """The entries of `sen.json` of those groups, as far as they are measured."""
        known = self.measured.record["layers"]
        return {name: known[name] for name in self.names if name in known}

    @property
    def settled(self) -> int:
        """Groups of which nothing is left to measure."""
        return sum(layer["settled"] for layer in self.layers.values())

    def picture(self) -> SensitivityPicture:
        """The data that the pictures show."""
        record, layers = self.measured.record, self.layers
        points = {
            name: [
                Point(float(ratio), p["images"], p["loss"], p["low"], p["high"], p["how"])
                for ratio, p in (layers[name]["points"] if name in layers else {}).items()
            ]
            for name in self.names
        }
        return SensitivityPicture(
            points,
            record["tolerance"],
            record["metric"],
            record["baseline"][record["metric"]],
            record["images"],
            {name: layer["ratio"] for name, layer in layers.items()},
            {self.study.public(group): self.study.macs_share(group) for group in self.study.graph.groups},
        )

    def draw(self) -> tuple[Path, Path]:
        """Draw the pictures beside the table; their files."""
        return draw_sensitivities(self.picture(), self.measured.folder / PICTURES[0])

    def to_json(self) -> dict[str, Any]:
        """Files, baseline and counts."""
        record = self.measured.record
        return {
            "sen_file": str(self.table_path),
            "record": str(self.measured.folder / RECORD),
            "baseline": record["baseline"],
            "groups": len(self.groups),
            "settled": self.settled,
            "points": sum(len(losses) for losses in self.measured.table.values()),
            "seconds": round(record["seconds"], 1),
        }


def measure(config: Config) -> SensitivityResult:
    """Measure every group that `Prune.layers` names -> `sen.pickle` and `sen.json` in `Global.save_model_dir`.

    Raises:
        ConfigError, DataError, WeightsError: what is to be measured is incomplete or unreadable.
        ArtifactError: the folder holds measurements of something else, or cannot be written.
    """
    config.require(*_SECTIONS)
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    if not config.overwrite:
        check_readable(folder, config.task)
    method = _method(config)
    with start_processes(method) as processes:
        study, groups = _study(config)
        analysis = analyse(study, groups, config.prune.ratios, folder, method, config.overwrite, processes)
    return SensitivityResult(study, groups, analysis.measured, method)


def merge(config: Config, sources: Sequence[Path]) -> SensitivityResult:
    """Put the measurements of several folders, such as shards, together into `Global.save_model_dir`.

    Raises:
        ArtifactError: a folder has none, or of something else, or losses that its journal does not explain.
    """
    from paddleslim.prune import merge_sensitive

    config.require(*_SECTIONS)
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    tables = [read_sensitivities(source / TABLE) for source in sources]
    for source in (*sources, *(() if config.overwrite else (folder,))):
        check_readable(source, config.task)
    study, groups = _study(config)
    identity = study.identity()
    for source, table in zip(sources, tables):
        check_names(table, identity.graph, identity.architecture, source / TABLE)
    measured = open_measurements(folder, identity, lambda _: True, overwrite=config.overwrite)
    journals = [path for source in sources for path in _journals(source)]
    for (layer, ratio), counts in read_counts(journals, identity).items():
        known = len(measured.counts.get((layer, ratio), []))
        measured.add(layer, ratio, known, counts[known:])
    merged = merge_sensitive([*tables, {}])
    lost = [name for name, losses in merged.items() if losses.items() - measured.table.get(name, {}).items()]
    if lost:
        raise ArtifactError(
            f"{', '.join(str(source / TABLE) for source in sources)}: hold points of {lost[0]} that the journals "
            "beside them do not explain: merge the folders as they were measured, or measure that layer anew"
        )
    method = _method(config)
    conclude(study, groups, config.prune.ratios, measured, method)
    return SensitivityResult(study, groups, measured, method)


def _study(config: Config) -> tuple[Study, list[str]]:
    """What is analysed, and the groups that `Prune.layers` names."""
    scored = load_scored(config)
    groups = match_groups(scored.graph, config.prune.layers, config.section("Architecture"), "Prune.layers")
    labelled = scan_evaluation(config)
    NetworkMemory(DygraphEngine(scored.model), config.task).require(*EvalSet(labelled, config).largest)
    hashes = {
        **scored.hashes(),
        "evaluation data": labelled.fingerprint(),
        "post-processing": hash_value([config.section("PostProcess"), config.get("Metric.main_indicator")]),
    }
    return Study(scored.model, scored.graph, labelled, config, scored.pruner, hashes), groups


def _method(config: Config) -> Method:
    options = config.prune
    return Method(
        mode=options.mode,
        tolerance=options.loss_tolerance,
        engine=options.engine,
        workers=options.workers,
        memory=int(options.cache_gib * GIB),
        minutes=options.budget_minutes,
        use_gpu=paddle.device.get_device().startswith("gpu"),
        share=share_of(options.shard),
    )


def _journals(folder: Path) -> list[Path]:
    found = sorted(folder.glob(JOURNALS))
    if not found:
        raise ArtifactError(
            f"{folder}: holds no measurements ({JOURNALS}): expected a folder that sensitivity_anal.py wrote into "
            "(its Global.save_model_dir)"
        )
    return found
