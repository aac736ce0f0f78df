"""Export to inference models, proven against the network they come from."""

from ocrslim.export.exported import Exported, ExportedFormat
from ocrslim.export.exporter import export_network
from ocrslim.export.formats.paddle import guard_pir, save_inference
from ocrslim.export.settings import client_settings
from ocrslim.export.staging import check_target, put_in_place, resolve_target, staging_folder

__all__ = [
    "Exported",
    "ExportedFormat",
    "check_target",
    "client_settings",
    "export_network",
    "guard_pir",
    "put_in_place",
    "resolve_target",
    "save_inference",
    "staging_folder",
]
