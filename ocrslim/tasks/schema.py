"""What a task's configuration may say: the sections that differ from task to task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Transforms = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TaskSchema:
    """The parts of the configuration that belong to a task.

    Attributes:
        architecture, loss, post_process, metric: types of these sections.
        transforms: arguments of each transform that its data sets may have, by the transform's name.
        pipeline_faults: what is wrong with a list of transforms taken together, for "Train" or "Eval"; a line each.
    """

    architecture: Any
    loss: Any
    post_process: Any
    metric: Any
    transforms: Mapping[str, Any]
    pipeline_faults: Callable[[Transforms, str], Sequence[str]]
    exclusive: Mapping[str, Sequence[str]] = field(default_factory=dict)
