"""Stage 1 as commands: measuring, and putting together what was measured in parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paddle

from ocrslim import report
from ocrslim.artifacts import check_writable, hash_value
from ocrslim.config import Config
from ocrslim.data import EvalSet, scan_evaluation
from ocrslim.engines import DygraphEngine
from ocrslim.errors import ArtifactError
from ocrslim.formats.sensitivity_table import read_sensitivities
from ocrslim.loss_table import ADAPTIVE, RECORD, TABLE, check_names
from ocrslim.measurements import JOURNALS, PICTURES, Measurements, check_readable, open_measurements, read_counts
from ocrslim.network_input import NetworkMemory
from ocrslim.plots import SensitivityPicture, draw_sensitivities
from ocrslim.pruning.patterns import match_groups, require_patterns
from ocrslim.scoring import load_scored
from ocrslim.search import Point
from ocrslim.sensitivity import analyse, conclude, start_processes
from ocrslim.sharing import Share, share_of
from ocrslim.study import Method, Study
from ocrslim.utils.input_files import GIB

logger = logging.getLogger(__name__)


def run_sensitivity(config: Config) -> dict[str, Any]:
    """Stage 1: measure every prunable group -> `sen.pickle`, `sen.json` and two pictures."""
    config.require("Architecture", "Eval", "PostProcess")
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    if not config.overwrite:
        check_readable(folder)
    method = _method(config)
    with start_processes(method) as processes:
        study, groups = _study(config)
        analysis = analyse(study, groups, config.prune.ratios, folder, method, config.overwrite, processes)
    return _told(study, groups, analysis.measured, method)


def run_merge(config: Config, sources: Sequence[Path]) -> dict[str, Any]:
    """Put the measurements of several folders, such as shards, together into `Global.save_model_dir`."""
    from paddleslim.prune import merge_sensitive

    config.require("Architecture", "Eval", "PostProcess")
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    tables = [read_sensitivities(source / TABLE) for source in sources]
    for source in (*sources, *(() if config.overwrite else (folder,))):
        check_readable(source)
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
    return _told(study, groups, measured, method)


def _study(config: Config) -> tuple[Study, list[str]]:
    """What is analysed, and the groups that `Prune.layers` names."""
    scored = load_scored(config)
    groups = match_groups(scored.graph, config.prune.layers, config.section("Architecture"), "Prune.layers")
    labelled = scan_evaluation(config)
    NetworkMemory(DygraphEngine(scored.model)).require(*EvalSet(labelled, config).largest)
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


def _told(study: Study, groups: Sequence[str], measured: Measurements, method: Method) -> dict[str, Any]:
    """Print what is known, draw it, and return it."""
    names = [study.public(name) for name in groups]
    record = measured.record
    layers = {name: record["layers"][name] for name in names if name in record["layers"]}
    if method.mode == ADAPTIVE:
        print(report.decisions_table(layers, method.tolerance, record["images"]))
    else:
        print(report.sensitivity_table(measured.table, names))
    pictures = draw_sensitivities(_picture(study, names, record), measured.folder / PICTURES[0])
    settled = sum(layer["settled"] for layer in layers.values())
    if settled < len(names):
        logger.info("%d of %d layers are measured to the end; %s", settled, len(names), _next(method.share))
    return {
        "sen_file": str(measured.folder / TABLE),
        "record": str(measured.folder / RECORD),
        "pictures": [str(path) for path in pictures],
        "baseline": record["baseline"],
        "groups": len(names),
        "settled": settled,
        "points": sum(len(losses) for losses in measured.table.values()),
        "seconds": round(record["seconds"], 1),
    }


def _next(share: Share) -> str:
    """What to do where layers are left."""
    if share.count == 1:
        return "the same command goes on"
    if share.one_folder:
        return "the other ranks measure the rest; if one is lost, the same command goes on"
    return "put the folders of all shards together with: ocrslim merge FOLDER FOLDER ... -c CONFIG"


def _picture(study: Study, names: Sequence[str], record: Mapping[str, Any]) -> SensitivityPicture:
    layers = record["layers"]
    known = {name: layers[name]["points"] if name in layers else {} for name in names}
    points = {
        name: [Point(float(ratio), p["images"], p["loss"], p["low"], p["high"], p["how"]) for ratio, p in of.items()]
        for name, of in known.items()
    }
    return SensitivityPicture(
        points,
        record["tolerance"],
        record["metric"],
        record["baseline"][record["metric"]],
        record["images"],
        {name: layers[name]["ratio"] for name in names if name in layers},
        {study.public(group): study.macs_share(group) for group in study.graph.groups},
    )
