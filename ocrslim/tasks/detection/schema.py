"""The sections of a detector's configuration."""

from __future__ import annotations

from ocrslim.tasks.detection.operators import OPERATORS
from ocrslim.tasks.detection.pipeline import pipeline_faults
from ocrslim.tasks.schema import TaskSchema

SCHEMA = TaskSchema(None, None, None, None, OPERATORS, pipeline_faults)
