"""Text detection: differentiable binarisation."""

from ocrslim.tasks.detection.schema import NECK_STEP, SCALES
from ocrslim.tasks.detection.task import Detection

__all__ = ["NECK_STEP", "SCALES", "Detection"]
