"""Text detection as a task."""

from ocrslim.tasks.base import Task
from ocrslim.tasks.detection.schema import DETECTION


class Detection(Task):
    """Detectors that say where text is, by differentiable binarisation."""

    model_type = "det"
    schema = DETECTION
