"""Measurements, image by image, in a file that is only appended to.

So no measurement is ever lost, whenever a run ends and however; and files of several processes or machines are
simply read together. The table and its record are derived from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.errors import ArtifactError
from ocrslim.tasks import Counts, Task
from ocrslim.utils import Field, JsonLines, parse_json, write_error

SCHEMA = 1
_MOST = 10**9  # of counts of an image, and of images


@dataclass(frozen=True)
class Entry:
    """Counts of consecutive images of the measuring order, from `start` on.

    Attributes:
        layer: public name of the pruned group; None for the unpruned network.
        ratio: fraction of its channels that is removed; 0 for the unpruned network.
    """

    layer: str | None
    ratio: float
    start: int
    counts: Sequence[Counts]


class Journal:
    """The file that one process appends to."""

    def __init__(self, path: Path, header: Mapping[str, Any], task: Task):
        """
        Args:
            task: names what is counted.
            path: continued where it exists; what a kill cut off at its end goes.
            header: what the measurements depend on; first line of a new file.
        """
        self.path, self._task = path, task
        self._file = JsonLines(path)
        try:
            if not self._file.cut_at_last_line():
                self._file.append({"journal": SCHEMA, **header})
        except OSError as error:
            raise write_error(path, error) from error

    def append(self, entry: Entry) -> None:
        """Add one line, on the disk when this returns.

        Raises:
            ArtifactError: it cannot be written.
        """
        columns = [list(column) for column in zip(*entry.counts)] or [[] for _ in self._task.count_names]
        line = {"layer": entry.layer, "ratio": entry.ratio, "start": entry.start}
        try:
            self._file.append({**line, **dict(zip(self._task.count_names, columns))})
        except OSError as error:
            raise write_error(self.path, error) from error


def read_journal(path: Path, remedy: str, task: Task) -> tuple[dict[str, Any], list[Entry]]:
    """The header of a journal and its entries; a last line that a kill cut off is passed over.

    Both are empty where not even the header is whole: a process was killed, or another one is just writing it.

    Raises:
        ArtifactError: damaged, or no file, with `remedy`.
    """
    try:
        lines = JsonLines(path).lines()
        first = next(lines, None)
        if first is None:
            return {}, []
        header = dict(Field(parse_json(first)).mapping())
        Field(header)["journal"].whole(SCHEMA, SCHEMA)
        del header["journal"]
        return header, [_entry(Field(parse_json(line), f"line {number}"), task) for number, line in enumerate(lines, 2)]
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}): {remedy}") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: not a journal of this version, or damaged ({error}): {remedy}") from None


def _entry(line: Field, task: Task) -> Entry:
    columns = [_column(line[name]) for name in task.count_names]
    if len({len(column) for column in columns}) != 1:
        raise ValueError(f"{line.place} has counts of unequal numbers of images")
    try:
        counts = [task.counts_of(numbers) for numbers in zip(*columns)]
    except ValueError as fault:
        raise ValueError(f"{line.place} has {fault}") from None
    layer = None if line["layer"].value is None else line["layer"].text()
    ratio = line["ratio"].number(0, 1)
    if ratio == 1:
        raise line["ratio"].fault("less than 1")
    return Entry(layer, ratio, line["start"].whole(0, _MOST), counts)


def _column(field: Field) -> Sequence[float]:
    """One count of several images; whole numbers are read quickly."""
    if isinstance(field.value, list) and all(type(one) is int for one in field.value):
        return field.wholes(0, _MOST)
    return [one.number(0, _MOST) for one in field.list()]


def joined(entries: Iterable[Entry]) -> dict[tuple[str | None, float], list[Counts]]:
    """The counts of each (layer, ratio), from the first image on as far as they are without a gap."""
    parts: defaultdict[tuple[str | None, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        parts[entry.layer, entry.ratio].append(entry)
    found = {}
    for key, pieces in parts.items():
        counts: list[Counts] = []
        for piece in sorted(pieces, key=lambda entry: entry.start):
            if piece.start <= len(counts):
                counts += piece.counts[len(counts) - piece.start :]
        found[key] = counts
    return found
