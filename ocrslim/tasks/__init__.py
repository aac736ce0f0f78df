"""A model's purpose: labels, outputs, metric, loss."""

from ocrslim.tasks.base import Task, register, task_of, task_types
from ocrslim.tasks.detection.task import Detection
from ocrslim.tasks.schema import TaskSchema

__all__ = ["Task", "TaskSchema", "register", "task_of", "task_types"]

register(Detection())
