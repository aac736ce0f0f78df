"""Text recognition."""

from ocrslim.tasks.recognition.task import Reading, Recognition

__all__ = ["Reading", "Recognition"]
