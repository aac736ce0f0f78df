"""What a model is for, as one interface: everything that depends on the task goes through it."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from ocrslim.errors import ConfigError
from ocrslim.tasks.schema import TaskSchema

_TASKS: dict[str, Task] = {}


class Task(ABC):
    """One kind of model, such as text detectors."""

    model_type: ClassVar[str]  # of `Architecture.model_type`
    schema: ClassVar[TaskSchema]


def register(task: Task) -> Task:
    """Make a task known by its `model_type`."""
    _TASKS[task.model_type] = task
    return task


def task_types() -> tuple[str, ...]:
    """The values of `Architecture.model_type` that are known."""
    return tuple(_TASKS)


def task_of(model_type: str) -> Task:
    """The task of `Architecture.model_type`.

    Raises:
        ConfigError: no task of that name is known.
    """
    if model_type not in _TASKS:
        known = ", ".join(_TASKS)
        raise ConfigError(f"Architecture.model_type: {model_type!r} is not supported: expected one of {known}")
    return _TASKS[model_type]
