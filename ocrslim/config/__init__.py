"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration."""

from ocrslim.config.client_settings import OWN_SETTINGS
from ocrslim.config.commented import listing
from ocrslim.config.config import Config, load_config
from ocrslim.config.export_schema import ExportOptions, Format, Runtime
from ocrslim.config.imported import PROGRAM, is_imported, sized_task
from ocrslim.config.of_model import load_model_config, setting
from ocrslim.config.of_pair import DETECTOR, RECOGNISER, load_pair
from ocrslim.config.schema import MIN_RECOVER_IMAGES, Criterion, GroupScore, PruneOptions

__all__ = [
    "DETECTOR",
    "MIN_RECOVER_IMAGES",
    "OWN_SETTINGS",
    "PROGRAM",
    "RECOGNISER",
    "Config",
    "Criterion",
    "ExportOptions",
    "Format",
    "GroupScore",
    "PruneOptions",
    "Runtime",
    "is_imported",
    "listing",
    "load_config",
    "load_model_config",
    "load_pair",
    "setting",
    "sized_task",
]
