"""How much accuracy each group loses at each ratio, measured one point at a time.

Written after every point: `sen.pickle` (PaddleSlim's table) and `sen.json` (what the table was measured
on). Interrupted at any moment, only the point in flight is lost.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paddle import nn

from ocrslim.artifacts import (
    Sensitivities,
    check_writable,
    read_json,
    read_sensitivities,
    remove_leftovers,
    write_json,
    write_sensitivities,
)
from ocrslim.data import EvalSet
from ocrslim.engines import DygraphEngine
from ocrslim.errors import ArtifactError, DataError
from ocrslim.evaluate import PostProcess, evaluate
from ocrslim.graph.groups import ChannelGraph
from ocrslim.models.names import to_public, to_state_key
from ocrslim.progress import progress_bar
from ocrslim.pruning.plan import Plan
from ocrslim.pruning.pruners import ChannelPruner
from ocrslim.pruning.select import loss_of
from ocrslim.pruning.surgery import pruned

logger = logging.getLogger(__name__)

SCHEMA = 1
TABLE, RECORD = "sen.pickle", "sen.json"
MADE_BY = "sensitivity_anal.py"
_PLAIN = ("criterion", "group score", "seed")  # recorded as they are, not as hashes
_AUTOMATIC = re.compile(r"\w+_\d+\.[wb]_\d+")  # such as conv2d_57.w_0
_REMEASURE = "choose another folder with -o Global.save_model_dir=PATH, or measure anew with -o Global.overwrite=true"


@dataclass(frozen=True)
class Study:
    """What is analysed: everything that a point's loss depends on.

    Attributes:
        model: unpruned, weights loaded; unchanged when the analysis ends.
        graph: its channel groups.
        architecture: the `Architecture` section.
        images: the evaluation set.
        post_process: shrink map to polygons.
        metric: which of precision, recall, hmean the losses are of.
        criterion: how channels are scored.
        pruner: scores them; not called before everything else is checked.
        hashes: what identifies weights, architecture, data and settings.
        config: the resolved configuration, kept in the record.
    """

    model: nn.Layer
    graph: ChannelGraph
    architecture: Mapping[str, Any]
    images: EvalSet
    post_process: PostProcess
    metric: str
    criterion: str
    pruner: Callable[[], ChannelPruner]
    hashes: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass
class Progress:
    """What is on the disk: the table by public names, and its record."""

    folder: Path
    table: Sensitivities = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write table and record, each atomically; the table first, as it holds what cannot be derived.

        A record without a table is a run before its first point; the other way round nobody could tell
        what was measured.
        """
        write_sensitivities(self.folder / TABLE, self.table)
        self.save_record()

    def save_record(self) -> None:
        write_json(self.folder / RECORD, self.record)


def analyse(
    study: Study, groups: Sequence[str], ratios: Sequence[float], folder: Path, overwrite: bool = False
) -> Progress:
    """Measure the loss of every group in `groups` at every ratio, continuing what `folder` holds.

    Args:
        groups: group names (state-dict keys).
        ratios: fractions of channels to remove, each in 0..1.
        folder: gets `sen.pickle` and `sen.json`.
        overwrite: start over instead of refusing a table of other weights, data or settings.

    Raises:
        ArtifactError: `folder` holds a table of something else, or cannot be written.
        DataError: the baseline is zero, so there is nothing to lose.
    """
    check_writable(folder)
    remove_leftovers(folder, TABLE, RECORD)
    names = {name: to_public(name, study.architecture) for name in groups}
    wanted = [(name, ratio) for name in groups for ratio in ratios]

    def missing(progress: Progress) -> list[tuple[str, float]]:
        return [(name, ratio) for name, ratio in wanted if ratio not in progress.table.get(names[name], {})]

    progress = _previous(folder, study, lambda found: not missing(found), overwrite)
    points, total = missing(progress), len(wanted)
    if progress.record:
        logger.info("%s: continues with %d of %d points done", folder / TABLE, total - len(points), total)
    else:
        progress.record = _new_record(study)
    progress.record["config"] = dict(study.config)
    progress.save_record()
    _measure(study, progress, points, names, total)
    return progress


def _measure(
    study: Study,
    progress: Progress,
    points: Sequence[tuple[str, float]],
    names: Mapping[str, str],
    total: int,
) -> None:
    if not points:
        return
    pruner = study.pruner()
    baseline = progress.record["baseline"][study.metric]
    with progress_bar(total=total, initial=total - len(points), desc="sensitivity", unit="point") as bar:
        for name, ratio in points:
            start = time.monotonic()
            bar.set_postfix_str(f"{names[name]} at {ratio:g}", refresh=False)
            plan = Plan(study.architecture, pruner.cuts({name: ratio}))
            with pruned(study.model, plan):
                score = _score(study, f"{names[name]} {ratio:g}")
            progress.table.setdefault(names[name], {})[ratio] = loss_of(baseline, score[study.metric])
            progress.record["seconds"] += time.monotonic() - start
            progress.save()
            bar.update()


def _score(study: Study, desc: str) -> dict[str, float]:
    return evaluate(DygraphEngine(study.model), study.images, study.post_process, desc)


def _new_record(study: Study) -> dict[str, Any]:
    start = time.monotonic()
    baseline = _score(study, "baseline")
    if baseline[study.metric] <= 0:
        raise DataError(
            f"the unpruned network scores {study.metric} 0 on {len(study.images)} images: there is nothing "
            "to lose; check that weights and configuration belong together (ocrslim eval), or train first"
        )
    logger.info("baseline %s %.4f on %d images", study.metric, baseline[study.metric], len(study.images))
    return {
        "schema": SCHEMA,
        "criterion": study.criterion,
        "metric": study.metric,
        "baseline": baseline,
        "images": len(study.images),
        "hashes": dict(study.hashes),
        "unprunable": {to_public(k, study.architecture): why for k, why in study.graph.unprunable.items()},
        "seconds": time.monotonic() - start,
    }


def _previous(folder: Path, study: Study, finished: Callable[[Progress], bool], overwrite: bool) -> Progress:
    """What `folder` holds of this study; with `overwrite`, only where it is this very one and unfinished."""
    try:
        progress = _resume(folder, study)
    except ArtifactError:
        if not overwrite:
            raise
        progress = Progress(folder)
    if overwrite and finished(progress):
        progress = Progress(folder)
    if not progress.record:
        (folder / TABLE).unlink(missing_ok=True)
    return progress


def _resume(folder: Path, study: Study) -> Progress:
    table_path, record_path = folder / TABLE, folder / RECORD
    table = read_sensitivities(table_path) if table_path.exists() else {}
    if not record_path.exists():
        if not table:
            return Progress(folder)
        raise ArtifactError(
            f"{table_path}: no {RECORD} beside it says what it was measured on, so it cannot be continued: {_REMEASURE}"
        )
    record = read_json(record_path, MADE_BY)
    check_record(record, study.hashes, record_path, _REMEASURE)
    check_names(table, study.graph, study.architecture, table_path)
    return Progress(folder, table, record)


def check_record(record: Mapping[str, Any], hashes: Mapping[str, str], path: Path, remedy: str) -> None:
    """Refuse a table that was measured on something else than `hashes` say, or a damaged record.

    Raises:
        ArtifactError: naming what differs, with `remedy`.
    """
    known, baseline = record.get("hashes"), record.get("baseline")
    scores = list(baseline.values()) if isinstance(baseline, dict) else []
    numbers = [*scores, record.get("seconds")]
    numeric = len(scores) == 3 and all(isinstance(number, (int, float)) for number in numbers)
    if record.get("schema") != SCHEMA or not isinstance(known, dict) or not numeric:
        raise ArtifactError(f"{path}: damaged, or not of this version (schema {SCHEMA}): {remedy}")
    differ = [what for what, value in hashes.items() if known.get(what) != value]
    if differ:
        plain = [
            f"{what}: {known.get(what, 'not recorded')} there, {hashes[what]} here" for what in differ if what in _PLAIN
        ]
        values = f" ({'; '.join(plain)})" if plain else ""
        raise ArtifactError(f"{path}: measured with other {' and '.join(differ)} than this run's{values}: {remedy}")


def check_names(table: Sensitivities, graph: ChannelGraph, architecture: Mapping[str, Any], path: Path) -> None:
    """Refuse a table with layers that `graph` has no group for.

    Raises:
        ArtifactError: naming the first of them.
    """
    unknown = [name for name in table if to_state_key(name, architecture) not in graph.groups]
    if unknown and _AUTOMATIC.fullmatch(unknown[0]):
        raise ArtifactError(
            f"{path}: {unknown[0]} is a name that Paddle gives by itself, and another one in every process; expected "
            f"names such as {to_public(next(iter(graph.groups), 'conv1.weight'), architecture)}: measure with "
            f"{MADE_BY}, into another folder (-o Global.save_model_dir=PATH) or with -o Global.overwrite=true"
        )
    if unknown:
        raise ArtifactError(
            f"{path}: {unknown[0]} is not a prunable layer of this network: the table is of another model; "
            "measure this one, into another folder (-o Global.save_model_dir=PATH) or with -o Global.overwrite=true"
        )


def load_table(
    path: Path, graph: ChannelGraph, architecture: Mapping[str, Any], hashes: Mapping[str, str]
) -> Sensitivities:
    """Read a finished or partial `sen.pickle` for pruning, keyed by state-dict keys.

    A record beside it must agree with `hashes`; a table without one (PaddleSlim's own) is taken as it is.

    Raises:
        ArtifactError: damaged, empty, or of another model.
    """
    table = read_sensitivities(path)
    record_path = path.with_suffix(".json")
    if record_path.is_file():
        remedy = f"measure these with {MADE_BY}, or name their table with -o Prune.sen_file=PATH"
        check_record(read_json(record_path, MADE_BY), hashes, record_path, remedy)
    else:
        logger.warning("%s: no %s beside it: cannot tell which weights it was measured on", path, RECORD)
    check_names(table, graph, architecture, path)
    if not any(table.values()):
        raise ArtifactError(f"{path}: holds no measured point: run {MADE_BY} first")
    return {to_state_key(name, architecture): losses for name, losses in table.items()}
