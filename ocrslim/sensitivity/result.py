"""The result of an analysis, for commands and for the Python API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocrslim.report import SensitivityPicture, draw_sensitivities
from ocrslim.sensitivity.results.store import PICTURES, Measurements
from ocrslim.sensitivity.results.table import RECORD, TABLE
from ocrslim.sensitivity.search.search import Point
from ocrslim.sensitivity.settings import Problem, Settings, Usage


@dataclass(frozen=True)
class SensitivityResult:
    """An analysis after a run: the measurements in its folder, and what the run used.

    Attributes:
        measured: all measurements of the problem, those of earlier runs too.
        usage: time and memory of this run.
    """

    problem: Problem
    measured: Measurements
    settings: Settings
    usage: Usage = field(default_factory=Usage)

    @property
    def groups(self) -> Sequence[str]:
        """Names of the groups that were asked for (state-dict keys)."""
        return self.problem.groups

    @property
    def table_path(self) -> Path:
        """The file `sen.pickle`."""
        return self.measured.folder / TABLE

    @property
    def names(self) -> list[str]:
        """The public names of the groups that were asked for."""
        return list(self.problem.layers)

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
            {self.problem.public(group): self.problem.macs_share(group) for group in self.problem.graph.groups},
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
