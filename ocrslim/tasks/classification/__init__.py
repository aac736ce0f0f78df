"""Classification of images, such as whether a line of text stands on its head."""

from ocrslim.tasks.classification.task import Classification

__all__ = ["Classification"]
