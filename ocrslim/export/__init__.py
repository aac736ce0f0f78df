"""Inference models, proven against the network they come from."""

from ocrslim.export.exporter import export
from ocrslim.export.formats.paddle import save_inference
from ocrslim.export.sample_image import sample_image

__all__ = ["export", "sample_image", "save_inference"]
