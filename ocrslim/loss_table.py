"""`sen.pickle` and the record beside it as others read them: what it was measured on, and which losses it gives."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrslim.artifacts import Sensitivities, read_json, read_sensitivities
from ocrslim.errors import ArtifactError
from ocrslim.graph.groups import ChannelGraph
from ocrslim.models.names import to_public, to_state_key

logger = logging.getLogger(__name__)

SCHEMA = 2
TABLE, RECORD = "sen.pickle", "sen.json"
EXACT, ADAPTIVE = ("exact", "adaptive")
MADE_BY = "sensitivity_anal.py"
REMEASURE = "choose another folder with -o Global.save_model_dir=PATH, or measure anew with -o Global.overwrite=true"
_PLAIN = ("criterion", "group score", "seed")  # recorded as they are, not as hashes
_AUTOMATIC = re.compile(r"\w+_\d+\.[wb]_\d+")  # such as conv2d_57.w_0


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
    path: Path, graph: ChannelGraph, architecture: Mapping[str, Any], hashes: Mapping[str, str], tolerance: float
) -> Sensitivities:
    """Read a finished or partial `sen.pickle` for pruning, keyed by state-dict keys.

    A record beside it must agree with `hashes`; a table without one (PaddleSlim's own) is taken as it is. Where
    the record is of the adaptive mode, what it infers from the measurements is taken with them.

    Args:
        tolerance: that ratios will be chosen for.

    Raises:
        ArtifactError: damaged, empty, or of another model.
    """
    table = read_sensitivities(path)
    record_path = path.with_suffix(".json")
    if record_path.is_file():
        remedy = f"measure these with {MADE_BY}, or name their table with -o Prune.sen_file=PATH"
        record = read_json(record_path, MADE_BY)
        check_record(record, hashes, record_path, remedy)
        if record.get("mode") == ADAPTIVE:
            table = _with_estimates(table, record, record_path, tolerance)
    else:
        logger.warning("%s: no %s beside it: cannot tell which weights it was measured on", path, RECORD)
    check_names(table, graph, architecture, path)
    if not any(table.values()):
        raise ArtifactError(f"{path}: holds no measured point: run {MADE_BY} first")
    return {to_state_key(name, architecture): losses for name, losses in table.items()}


def unpruned_score(path: Path, metric: str) -> float | None:
    """What the unpruned network scored when the table at `path` was measured; None where no record tells."""
    record = read_json(path.with_suffix(".json"), MADE_BY) if path.with_suffix(".json").is_file() else {}
    score = (record.get("baseline") or {}).get(metric)
    return score if isinstance(score, float) else None


def _with_estimates(table: Sensitivities, record: Mapping[str, Any], path: Path, tolerance: float) -> Sensitivities:
    """The measured losses and, beside them, those that the adaptive search infers.

    Of a layer whose search did not end, each loss is taken at the upper end of its interval, so that no more
    is pruned than is known to be right.
    """
    if record.get("tolerance") != tolerance:
        logger.warning(
            f"{path}: was made to find the ratios for a loss of {record.get('tolerance')}; for {tolerance:g} they are "
            f"rough: {MADE_BY} with -o Prune.loss_tolerance={tolerance:g} goes on from there"
        )
    try:
        found = {}
        for name, layer in record["layers"].items():
            if any(point["images"] for point in layer["points"].values()):
                end = "loss" if layer["settled"] else "high"
                estimates = {float(ratio): float(point[end]) for ratio, point in layer["points"].items()}
                found[name] = {**estimates, **(table.get(name, {}) if layer["settled"] else {})}
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: its layers are damaged ({error}): run {MADE_BY} again") from None
