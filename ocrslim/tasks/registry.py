"""The tasks that are known, by `Architecture.model_type`."""

from __future__ import annotations

from ocrslim.errors import ConfigError
from ocrslim.tasks.base import Task

DEFAULT = "det"  # the value of `Architecture.model_type` where it is left out

_TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known by its `model_type`."""
    _TASKS[task.model_type] = task
    return task


def task_types() -> tuple[str, ...]:
    """Return the values of `Architecture.model_type` that are known."""
    return tuple(_TASKS)


def task_of(model_type: str) -> Task:
    """Return the task of `Architecture.model_type`.

    Raises:
        ConfigError: no task of that name is known.
    """
    if model_type not in _TASKS:
        known = " or ".join(map(repr, _TASKS))
        raise ConfigError(f"Architecture.model_type: {model_type!r} is not supported: expected {known}")
    return _TASKS[model_type]
