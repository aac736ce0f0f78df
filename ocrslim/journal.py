"""What was measured, image by image, in a file that is only appended to.

So nothing that was measured is ever lost, whenever a run ends and however; and files of several processes
or machines are simply read together. The table and its record are derived from it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.artifacts import write_error
from ocrslim.errors import ArtifactError
from ocrslim.metrics import ImageCounts

SCHEMA = 1
Counts = list[ImageCounts]


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
    counts: Sequence[ImageCounts]


class Journal:
    """The file that one process appends to."""

    def __init__(self, path: Path, header: Mapping[str, Any]):
        """
        Args:
            path: continued where it exists; what a kill cut off at its end goes.
            header: what the measurements depend on; first line of a new file.
        """
        self.path = path
        try:
            _cut_at_last_line(path)
            if not path.stat().st_size:
                self._write({"journal": SCHEMA, **header})
        except OSError as error:
            raise write_error(path, error) from error

    def append(self, entry: Entry) -> None:
        """Add one line, on the disk when this returns.

        Raises:
            ArtifactError: it cannot be written.
        """
        gt, pred, matched = (list(column) for column in zip(*entry.counts)) if entry.counts else ([], [], [])
        line = {"layer": entry.layer, "ratio": entry.ratio, "start": entry.start}
        try:
            self._write({**line, "gt": gt, "pred": pred, "matched": matched})
        except OSError as error:
            raise write_error(self.path, error) from error

    def _write(self, value: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(value, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def _cut_at_last_line(path: Path) -> None:
    path.touch()
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def read_journal(path: Path, remedy: str) -> tuple[dict[str, Any], list[Entry]]:
    """The header of a journal and its entries; a last line that a kill cut off is passed over.

    Both are empty where not even the header is whole: a process was killed, or another one is just writing it.

    Raises:
        ArtifactError: damaged, with `remedy`.
    """
    try:
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]
        if not lines:
            return {}, []
        header, *rest = [json.loads(line) for line in lines]
        if header.pop("journal") != SCHEMA:
            raise ValueError("of another version")
        return header, [_entry(line) for line in rest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a journal of this version, or damaged ({error}): {remedy}") from None


def _entry(line: Mapping[str, Any]) -> Entry:
    columns = [[int(number) for number in line[name]] for name in ("gt", "pred", "matched")]
    if len({len(column) for column in columns}) != 1 or min((min(c, default=0) for c in columns), default=0) < 0:
        raise ValueError("counts that do not belong together")
    layer, ratio, start = line["layer"], float(line["ratio"]), int(line["start"])
    if not (layer is None or isinstance(layer, str)) or not 0 <= ratio < 1 or start < 0:
        raise ValueError("a line without layer, ratio and start")
    return Entry(layer, ratio, start, [ImageCounts(*numbers) for numbers in zip(*columns)])


def joined(entries: Iterable[Entry]) -> dict[tuple[str | None, float], Counts]:
    """The counts of each (layer, ratio), from the first image on as far as they are without a gap."""
    parts: defaultdict[tuple[str | None, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        parts[entry.layer, entry.ratio].append(entry)
    found = {}
    for key, pieces in parts.items():
        counts: Counts = []
        for piece in sorted(pieces, key=lambda entry: entry.start):
            if piece.start <= len(counts):
                counts += piece.counts[len(counts) - piece.start :]
        found[key] = counts
    return found
