"""Export to inference models, proven against the network they come from."""

from ocrslim.export.exporter import Exported, client_settings, export_network
from ocrslim.export.formats.paddle import save_inference
from ocrslim.export.staging import check_target, put_in_place, resolve_target, staging_folder

__all__ = [
    "Exported",
    "check_target",
    "client_settings",
    "export_network",
    "put_in_place",
    "resolve_target",
    "save_inference",
    "staging_folder",
]
