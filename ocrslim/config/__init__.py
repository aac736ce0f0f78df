"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration."""

from ocrslim.config.commented import listing
from ocrslim.config.config import Config, load_config
from ocrslim.config.imported import PROGRAM, is_imported, kind_of
from ocrslim.config.schema import MIN_RECOVER_IMAGES, Criterion, GroupScore, PruneOptions

__all__ = [
    "MIN_RECOVER_IMAGES",
    "PROGRAM",
    "Config",
    "Criterion",
    "GroupScore",
    "PruneOptions",
    "is_imported",
    "kind_of",
    "listing",
    "load_config",
]
