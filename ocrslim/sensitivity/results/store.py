"""The files of an analysis: journals, and the table and the record that are derived from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocrslim.errors import ArtifactError
from ocrslim.formats import Sensitivities, read_sensitivities, write_sensitivities
from ocrslim.models import to_public
from ocrslim.pruning import loss_of
from ocrslim.sensitivity.results.identity import Identity
from ocrslim.sensitivity.results.journal import Entry, Journal, joined, read_journal
from ocrslim.sensitivity.results.table import (
    RECORD,
    REMEASURE,
    SCHEMA,
    TABLE,
    changed_layers,
    check_hashes,
    check_names,
    describe_changed,
    read_record,
)
from ocrslim.sensitivity.search.search import Search
from ocrslim.tasks import Counts, Task
from ocrslim.utils import Field, shown, write_error, write_json

logger = logging.getLogger(__name__)

JOURNAL = "sen.jsonl"
JOURNALS = "sen*.jsonl"
PICTURES = ("sen.png", "sen_curves.png")


@dataclass
class Measurements:
    """The measurements in `folder`, by public names.

    Attributes:
        journal: the name of the journal that this process appends to.
        counts: of each (layer, ratio) the images measured so far; (None, 0) is the unpruned network.
        record: content of `sen.json`.
    """

    folder: Path
    identity: Identity
    journal: str = JOURNAL
    counts: dict[tuple[str | None, float], list[Counts]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    _appending: Journal | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def baseline(self) -> list[Counts]:
        """The unpruned network's counts, in measuring order; complete or empty."""
        counts = self.counts.get((None, 0.0), [])
        return counts if len(counts) == self.identity.images else []

    @property
    def table(self) -> Sensitivities:
        """Loss by layer and ratio, of the points measured on all images; layers in the network's order."""
        if not self.baseline:
            return {}
        reference = self.identity.score(self.baseline)
        names = [to_public(name, self.identity.architecture) for name in self.identity.graph.groups]
        table: Sensitivities = {}
        for layer, ratio in sorted(key for key in self.counts if key[0] is not None):
            counts = self.counts[layer, ratio]
            if len(counts) == self.identity.images:
                table.setdefault(str(layer), {})[ratio] = loss_of(reference, self.identity.score(counts))
        return {name: table[name] for name in names if name in table}

    def add(self, layer: str | None, ratio: float, start: int, counts: Sequence[Counts]) -> None:
        """Add counts of the images from `start` on; they are on the disk when this returns."""
        if not counts:
            return
        if self._appending is None:
            self._appending = Journal(
                _own_journal(self.folder, self.journal, self.identity), self.identity.header(), self.identity.task
            )
        self._appending.append(Entry(layer, ratio, start, counts))
        self.counts.setdefault((layer, ratio), [])[start:] = counts

    def refresh(self) -> None:
        """Read what other processes appended to their journals meanwhile."""
        self.counts.update(read_counts(sorted(self.folder.glob(JOURNALS)), self.identity))

    def save(self, searches: Mapping[str, Search], **facts: Any) -> None:
        """Write `sen.pickle` and `sen.json`, each whole or not at all.

        Args:
            searches: what is known of each layer, by public name; of others the record stays as it is.
            facts: further entries of the record.
        """
        begun = {name: _described(search) for name, search in searches.items() if _begun(search)}
        layers = {**self.record.get("layers", {}), **begun}
        graph, architecture = self.identity.graph, self.identity.architecture
        self.record = {
            "schema": SCHEMA,
            "metric": self.identity.metric,
            "baseline": self.identity.task.scores(self.baseline),
            "images": self.identity.images,
            "hashes": dict(self.identity.hashes),
            "groups": self.identity.groups,
            "unprunable": {to_public(key, architecture): why for key, why in graph.unprunable.items()},
            **facts,
            "layers": layers,
        }
        write_sensitivities(self.folder / TABLE, self.table)
        write_json(self.folder / RECORD, self.record)


def _begun(search: Search) -> bool:
    return any(point.images for point in search.points())


def _described(search: Search) -> dict[str, Any]:
    decision = search.decision()
    points = {
        f"{point.ratio:g}": {
            "how": point.how,
            "images": point.images,
            "loss": point.loss,
            "low": point.low,
            "high": point.high,
        }
        for point in search.points()
    }
    between = [decision.low, decision.high]
    return {"ratio": decision.ratio, "between": between, "settled": decision.settled, "points": points}


def open_measurements(
    folder: Path,
    identity: Identity,
    finished: Callable[[Measurements], bool],
    *,
    overwrite: bool = False,
    journal: str = JOURNAL,
) -> Measurements:
    """Open the measurements of `identity` that `folder` holds.

    Args:
        finished: whether nothing of it is left to measure.
        overwrite: start over where it holds something else, or all of it.
        journal: file that this process is to append to.

    Raises:
        ArtifactError: it holds measurements of something else, or damaged ones.
    """
    try:
        found = _read(folder, identity, journal)
    except ArtifactError:
        if not overwrite:
            raise
        found = None
    if found is not None and not (overwrite and finished(found)):
        return found
    for path in (*folder.glob(JOURNALS), *(folder / name for name in (TABLE, RECORD, *PICTURES))):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # a folder of that name, for one
            raise write_error(path, error) from error
    return Measurements(folder, identity, journal)


def check_readable(folder: Path, task: Task) -> None:
    """Refuse damaged measurements, before the minutes that it takes to know whether they are of the same problem.

    Raises:
        ArtifactError: naming the file and what is wrong with it.
    """
    for path in sorted(folder.glob(JOURNALS)):
        read_journal(path, REMEASURE, task)
    if os.path.lexists(folder / RECORD):
        read_record(folder / RECORD, REMEASURE)
    if os.path.lexists(folder / TABLE):
        read_sensitivities(folder / TABLE)


def _read(folder: Path, identity: Identity, journal: str) -> Measurements:
    record_path = folder / RECORD
    record, changed = {}, set()
    if os.path.lexists(record_path):
        record = read_record(record_path, REMEASURE)
        changed = changed_layers(record, identity.hashes, record_path, REMEASURE, identity.groups)
    if changed:
        logger.warning("%s: %s than this run's: these are measured anew", record_path, describe_changed(changed))
        record["layers"] = {name: layer for name, layer in record.get("layers", {}).items() if name not in changed}
    counts = read_counts(sorted(folder.glob(JOURNALS)), identity)
    found = Measurements(folder, identity, journal, counts, record)
    _check_table(folder, identity, found, changed)
    return found


def _own_journal(folder: Path, name: str, identity: Identity) -> Path:
    """The journal that this process appends to: another one than was begun with other channel groups."""
    path = folder / name
    header, _ = read_journal(path, REMEASURE, identity.task) if path.exists() else ({}, [])
    if not header or header.get("hashes") == dict(identity.hashes):
        return path
    return path.with_suffix(f".{identity.hashes.get('channel groups', 'other')[:8]}{path.suffix}")


def read_counts(journals: Sequence[Path], identity: Identity) -> dict[tuple[str | None, float], list[Counts]]:
    """Read the counts of all journals, without layers that had other channel groups when they were measured.

    Raises:
        ArtifactError: one is damaged, or of something else.
    """
    entries: list[Entry] = []
    for path in journals:
        header, more = read_journal(path, REMEASURE, identity.task)
        if not header:
            continue
        changed = check_header(header, identity, path)
        kept = [entry for entry in more if entry.layer not in changed]
        check_names({entry.layer: {} for entry in kept if entry.layer}, identity.graph, identity.architecture, path)
        beyond = next((entry for entry in kept if entry.start + len(entry.counts) > identity.images), None)
        if beyond is not None:
            raise ArtifactError(
                f"{path}: damaged: images {beyond.start} to {beyond.start + len(beyond.counts)} of "
                f"{identity.images}: {REMEASURE}"
            )
        entries += kept
    return {key: counts[: identity.images] for key, counts in joined(entries).items()}


def check_header(header: Mapping[str, Any], identity: Identity, path: Path) -> set[str]:
    """Refuse a journal of something else; the layers that had other channel groups.

    Raises:
        ArtifactError: naming what differs.
    """
    try:
        check_hashes(Field(header))
    except ValueError as fault:
        raise ArtifactError(f"{path}: damaged, or not of this version: {fault}: {REMEASURE}") from None
    changed = changed_layers(header, identity.hashes, path, REMEASURE, identity.groups)
    for key, here in (("metric", identity.metric), ("images", identity.images)):
        if header.get(key) != here:
            there = header.get(key)
            value = there if isinstance(there, str) and there.isidentifier() and len(there) < 20 else shown(there)
            raise ArtifactError(f"{path}: measured with {key} {value}, this run has {here}: {REMEASURE}")
    return changed


def _check_table(folder: Path, identity: Identity, found: Measurements, changed: Collection[str]) -> None:
    """Refuse a table that nothing here explains, but for layers that are measured anew: it would be written over."""
    path = folder / TABLE
    table = read_sensitivities(path) if os.path.lexists(path) else {}
    table = {name: losses for name, losses in table.items() if name not in changed}
    check_names(table, identity.graph, identity.architecture, path)
    known = found.table
    lost = [name for name, losses in table.items() if set(losses) - set(known.get(name, {}))]
    if lost:
        raise ArtifactError(
            f"{path}: has points of {lost[0]} that are not in {folder / JOURNAL}, so it cannot go on: {REMEASURE}"
        )
