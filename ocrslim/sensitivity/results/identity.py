"""What tells whether measurements belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ocrslim.graph import ChannelGraph
from ocrslim.sensitivity.results.table import group_hashes
from ocrslim.tasks import Counts, Ratio, Task


@dataclass(frozen=True)
class Identity:
    """The problem that measurements belong to; measurements of the same problem go together.

    Attributes:
        graph: the channel groups.
        architecture: the `Architecture` section.
        task: what the network is for.
        metric: the score that the losses are of.
        images: number of evaluation images.
        hashes: what identifies weights, architecture, data and settings.
    """

    graph: ChannelGraph
    architecture: Mapping[str, Any]
    task: Task
    metric: str
    images: int
    hashes: Mapping[str, str]

    @cached_property
    def groups(self) -> dict[str, str]:
        """Hash of each channel group, by public name."""
        return group_hashes(self.graph, self.architecture)

    @property
    def ratio(self) -> Ratio:
        """The formula of the score."""
        return self.task.metrics[self.metric]

    def score(self, counts: Sequence[Counts]) -> float:
        """The score (0..1) of images."""
        return self.task.scores(counts)[self.metric]

    def header(self) -> dict[str, Any]:
        """First line of a journal."""
        return {"metric": self.metric, "images": self.images, "hashes": dict(self.hashes), "groups": self.groups}
