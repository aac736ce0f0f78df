"""A task's part of the configuration: the sections that differ from task to task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocrslim.schema import Section

DatasetFaults = Callable[[Mapping[str, Any], str], Sequence[tuple[str, str]]]


@dataclass(frozen=True, eq=False)
class TaskSchema:
    """The parts of the configuration that belong to a task.

    Attributes:
        architecture, loss, post_process, metric: pydantic's types of these sections: a `Section`, or an annotated
            union of several that their `name` chooses from.
        transforms: arguments of each transform that its data sets may have, by the transform's name.
        dataset_faults: takes a `dataset` section and "Train" or "Eval", and gives what is wrong with its transforms
            taken together: (a key of the section, the fault).
        exclusive: for a transform, groups of arguments of which it obeys the first that is there, by the first
            argument of each; the others are without effect.
        open: transforms that are not listed are PaddleOCR's too, which checks their arguments when it builds them.
    """

    architecture: Any
    loss: Any
    post_process: Any
    metric: Any
    transforms: Mapping[str, type[Section]]
    dataset_faults: DatasetFaults
    exclusive: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    open: bool = False
