"""`sen.pickle` and the record beside it as others read them: what it was measured on, and which losses it gives."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ocrslim.errors import ArtifactError
from ocrslim.formats import Sensitivities, read_sensitivities
from ocrslim.graph import ChannelGraph
from ocrslim.models import to_public, to_state_key
from ocrslim.utils import Field, hash_value, listed, read_json, shortened

logger = logging.getLogger(__name__)

SCHEMA = 2
TABLE, RECORD = "sen.pickle", "sen.json"
EXACT, ADAPTIVE = ("exact", "adaptive")
MADE_BY = "sensitivity_anal.py"
REMEASURE = "choose another folder with -o Global.save_model_dir=PATH, or measure anew with -o Global.overwrite=true"
_GROUPS = "channel groups"
_RATIO = re.compile(r"\d*\.?\d+(e-\d+)?")
_MOST_NAMED = 3  # differences in a message
_WHERE = {  # what decides a hash, for people
    "weights": "Global.pretrained_model",
    "architecture": "Architecture",
    "evaluation data": "Eval.dataset",
    "training data": "Train.dataset",
    "post-processing": "PostProcess and Metric.main_indicator",
}
_AUTOMATIC = re.compile(r"\w+_\d+\.[wb]_\d+")  # such as conv2d_57.w_0


def group_hashes(graph: ChannelGraph, architecture: Mapping[str, Any]) -> dict[str, str]:
    """A short hash of each channel group, by public name: what losses of a layer depend on beside the weights."""
    return {to_public(name, architecture): hash_value(str(group))[:16] for name, group in graph.groups.items()}


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """Read a `sen.json`, every value in it that is used here being of the right type.

    Raises:
        ArtifactError: missing, damaged, or of another version, with `remedy`.
    """
    record = read_json(path, MADE_BY)
    _check_frame(record, path, remedy)
    try:
        _check_layers(Field(record))
    except ValueError as fault:
        raise ArtifactError(f"{path}: its layers are damaged ({fault}): run {MADE_BY} again, or {remedy}") from None
    return record


def _check_frame(record: Mapping[str, Any], path: Path, remedy: str) -> None:
    """Refuse a record of another version, or with values of a wrong type, its layers aside.

    Raises:
        ArtifactError: with `remedy`.
    """
    try:
        fields = Field(record)
        fields["schema"].whole(SCHEMA, SCHEMA)
        check_hashes(fields)
        if not [value.number(0, 1) for _, value in fields["baseline"].items()]:
            raise fields["baseline"].fault("a dictionary of scores")
        fields["seconds"].number(0)
        if "metric" in record and fields["metric"].text() not in fields["baseline"]:
            raise fields["baseline"].fault(f"a dictionary with {shortened(record['metric'])}")
        optional = {name: fields[name] for name in ("images", "tolerance", "mode", "engine") if name in record}
        for name, field in optional.items():
            _OPTIONAL[name](field)
    except ValueError as fault:
        raise ArtifactError(f"{path}: damaged, or not of this version (schema {SCHEMA}): {fault}: {remedy}") from None


def check_hashes(fields: Field) -> None:
    """Refuse hashes that are no texts; raises `ValueError`."""
    _check_texts(fields["hashes"])
    if "groups" in fields:
        _check_texts(fields["groups"])


def _check_texts(field: Field) -> None:
    for _, value in field.items():
        value.text()


_OPTIONAL: dict[str, Callable[[Field], object]] = {
    "images": Field.whole,
    "tolerance": lambda field: field.number(0, 1),
    "mode": Field.text,
    "engine": Field.text,
}


def _check_layers(record: Field) -> None:
    for _, layer in record["layers"].items() if "layers" in record else ():
        layer["ratio"].number(0, 1)
        layer["settled"].flag()
        if len([end.number(0, 1) for end in layer["between"].list(2)]) != 2:
            raise layer["between"].fault("a list of two numbers")
        for ratio, point in layer["points"].items():
            if not _RATIO.fullmatch(ratio) or not 0 <= float(ratio) < 1:
                raise ValueError(f"{point.place} is no ratio from 0 to 1")
            point["images"].whole()
            point["how"].text()
            for end in ("loss", "low", "high"):
                point[end].number()


def changed_layers(
    record: Mapping[str, Any],
    hashes: Mapping[str, str],
    path: Path,
    remedy: str,
    groups: Mapping[str, str] | None = None,
) -> set[str]:
    """Refuse measurements on something else than `hashes` say.

    Args:
        record: a `sen.json` as `read_record` gives it, or the first line of a journal.
        hashes: this run's.
        groups: this run's `group_hashes`.

    Returns:
        Public names of layers whose channel groups are not what they were, where the record tells them apart: nothing
        that it says of these holds here.

    Raises:
        ArtifactError: naming what differs, with `remedy`.
    """
    known, there = record["hashes"], record.get("groups")
    differ = [what for what, value in hashes.items() if known.get(what) != value]
    if differ == [_GROUPS] and groups and there:
        return {name for name in {*groups, *there} if groups.get(name) != there.get(name)}
    if differ:
        named = differ[:_MOST_NAMED]
        values = "; ".join(_difference(what, known.get(what), hashes[what]) for what in named)
        more = f" and {len(differ) - len(named)} more" if differ[_MOST_NAMED:] else ""
        raise ArtifactError(
            f"{path}: measured with other {' and '.join(named)}{more} than this run's ({values}): {remedy}"
        )
    return set()


def _difference(what: str, there: str | None, here: str) -> str:
    name = f"{what}, by {_WHERE[what]}" if what in _WHERE else what
    old, new = ("not recorded" if value is None else shortened(value, 15) for value in (there, here))
    return f"{name}: {old} there, {new} here"


def check_names(table: Sensitivities, graph: ChannelGraph, architecture: Mapping[str, Any], path: Path) -> None:
    """Refuse a table with layers that `graph` has no group for.

    Raises:
        ArtifactError: naming the first of them.
    """
    unknown = [shortened(name) for name in table if to_state_key(name, architecture) not in graph.groups]
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
    if os.path.lexists(record_path):
        remedy = f"measure these with {MADE_BY}, or name their table with -o Prune.sen_file=PATH"
        record = read_record(record_path, remedy)
        changed = changed_layers(record, hashes, record_path, remedy, group_hashes(graph, architecture))
        if changed & {*table, *record.get("layers", {})}:
            raise ArtifactError(f"{record_path}: {describe_changed(changed)} than this run's: {remedy}")
        if record.get("mode") == ADAPTIVE:
            table = _with_estimates(table, record, record_path, tolerance)
    else:
        logger.warning("%s: no %s beside it: cannot tell which weights it was measured on", path, RECORD)
    check_names(table, graph, architecture, path)
    if not any(table.values()):
        raise ArtifactError(f"{path}: holds no measured point: run {MADE_BY} first")
    return {to_state_key(name, architecture): losses for name, losses in table.items()}


def describe_changed(layers: Collection[str]) -> str:
    """Name the layers that have other channel groups, in words."""
    return f"measured with other channel groups of {listed(map(shortened, sorted(layers)))}"


def unpruned_score(path: Path, metric: str) -> float | None:
    """Score of the unpruned network when the table at `path` was measured; None where no record tells."""
    record_path = path.with_suffix(".json")
    baseline = read_json(record_path, MADE_BY).get("baseline") if record_path.is_file() else None
    score = baseline.get(metric) if isinstance(baseline, dict) else None
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
    found = {}
    for name, layer in record.get("layers", {}).items():
        if any(point["images"] for point in layer["points"].values()):
            end = "loss" if layer["settled"] else "high"
            estimates = {float(ratio): float(point[end]) for ratio, point in layer["points"].items()}
            found[name] = {**estimates, **(table.get(name, {}) if layer["settled"] else {})}
    return found
