"""How much accuracy each group loses at each ratio, measured one point at a time.

Written after every point: `sen.pickle` (PaddleSlim's table) and `sen.json` (what the table was measured
on). Interrupted at any moment, only the point in flight is lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
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
from ocrslim.pruning.surgery import pruned

logger = logging.getLogger(__name__)

SCHEMA = 1
TABLE, RECORD = "sen.pickle", "sen.json"
MADE_BY = "sensitivity_anal.py"


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
        hashes: what identifies weights, architecture, data and settings.
    """

    model: nn.Layer
    graph: ChannelGraph
    architecture: Mapping[str, Any]
    images: EvalSet
    post_process: PostProcess
    metric: str
    criterion: str
    hashes: Mapping[str, str]


@dataclass
class Progress:
    """What is on the disk: the table by public names, and its record."""

    folder: Path
    table: Sensitivities = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write table and record, each atomically; the table first, as it holds what cannot be derived."""
        write_sensitivities(self.folder / TABLE, self.table)
        self.save_record()

    def save_record(self) -> None:
        write_json(self.folder / RECORD, self.record)


def loss_of(baseline: float, score: float) -> float:
    """Relative loss as PaddleSlim 2.6 defines it (`FilterPruner._cal_sensitive`)."""
    return (baseline - score) / (baseline + 1e-3)


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
    progress = Progress(folder) if overwrite else _resume(folder, study.hashes)
    names = {name: to_public(name, study.architecture) for name in groups}
    points = [(name, ratio) for name in groups for ratio in ratios if ratio not in progress.table.get(names[name], {})]
    total = len(groups) * len(ratios)
    if progress.record:
        logger.info("%s: continues with %d of %d points done", folder / TABLE, total - len(points), total)
    else:
        progress.record = _new_record(study)
        progress.save()
    _measure(study, progress, points, names, total)
    return progress


def _measure(
    study: Study,
    progress: Progress,
    points: Sequence[tuple[str, float]],
    names: Mapping[str, str],
    total: int,
) -> None:
    pruner = ChannelPruner(study.model, study.graph, study.criterion)
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


def _resume(folder: Path, hashes: Mapping[str, str]) -> Progress:
    table_path, record_path = folder / TABLE, folder / RECORD
    if not record_path.exists() and not table_path.exists():
        return Progress(folder)
    table = read_sensitivities(table_path) if table_path.exists() else {}
    record = read_json(record_path, MADE_BY)
    check_record(record, hashes, record_path)
    return Progress(folder, table, record)


def check_record(record: Mapping[str, Any], hashes: Mapping[str, str], path: Path) -> None:
    """Refuse a table that was measured on something else than `hashes` say.

    Raises:
        ArtifactError: naming what differs.
    """
    known = record.get("hashes")
    if record.get("schema") != SCHEMA or not isinstance(known, dict):
        raise ArtifactError(
            f"{path}: not a record of this version (schema {record.get('schema')!r}, expected {SCHEMA}): "
            f"delete it and run {MADE_BY} again"
        )
    differ = [what for what, value in hashes.items() if known.get(what) != value]
    if differ:
        raise ArtifactError(
            f"{path}: measured with other {' and '.join(differ)} than this run's: restore them, choose another "
            "folder with -o Global.save_model_dir=PATH, or measure anew with -o Global.overwrite=true"
        )


def load_table(path: Path, architecture: Mapping[str, Any], hashes: Mapping[str, str]) -> Sensitivities:
    """Read a finished or partial `sen.pickle` for pruning, keyed by state-dict keys.

    A record beside it must agree with `hashes`; a table without one (PaddleSlim's own) is taken as it is.

    Raises:
        ArtifactError: damaged, or of another model.
    """
    table = read_sensitivities(path)
    record_path = path.with_suffix(".json")
    if record_path.is_file():
        check_record(read_json(record_path, MADE_BY), hashes, record_path)
    else:
        logger.warning("%s: no %s beside it: cannot tell which weights it was measured on", path, RECORD)
    return {to_state_key(name, architecture): losses for name, losses in table.items()}
