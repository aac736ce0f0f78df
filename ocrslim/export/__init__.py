"""Export to inference models, proven against the network they come from."""

from ocrslim.export.exported import Exported, ExportedFormat
from ocrslim.export.exporter import export_network
from ocrslim.export.formats.paddle import guard_pir, save_inference
from ocrslim.export.formats.source_file import format_of
from ocrslim.export.quantising.int8 import Int8
from ocrslim.export.settings import client_settings
from ocrslim.export.source import network_for
from ocrslim.export.staging import check_target, put_in_place, resolve_target, staging_folder

__all__ = [
    "Exported",
    "ExportedFormat",
    "Int8",
    "check_target",
    "client_settings",
    "export_network",
    "format_of",
    "guard_pir",
    "network_for",
    "put_in_place",
    "resolve_target",
    "save_inference",
    "staging_folder",
]
