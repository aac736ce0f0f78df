"""Text detection: differentiable binarisation."""

from ocrslim.tasks.detection.task import Detection

__all__ = ["Detection"]
