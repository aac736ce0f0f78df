"""Export to inference models, proven against the network they come from."""

from ocrslim.export.exporter import Exported, export_network
from ocrslim.export.formats.paddle import save_inference

__all__ = ["Exported", "export_network", "save_inference"]
