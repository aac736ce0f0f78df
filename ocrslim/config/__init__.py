"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration."""

from ocrslim.config.commented import listing
from ocrslim.config.config import Config, load_config
from ocrslim.config.of_model import load_model_config, setting
from ocrslim.config.schema import MIN_RECOVER_IMAGES, Criterion, GroupScore, PruneOptions

__all__ = [
    "MIN_RECOVER_IMAGES",
    "Config",
    "Criterion",
    "GroupScore",
    "PruneOptions",
    "listing",
    "load_config",
    "load_model_config",
    "setting",
]
