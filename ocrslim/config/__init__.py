"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration."""

from ocrslim.config.config import Config, load_config
from ocrslim.config.schema import MIN_RECOVER_IMAGES, PruneOptions
from ocrslim.utils.validators import (
    BOOL,
    STRING,
    ZERO_TO_ONE,
    Rule,
    Section,
    choice,
    pair,
    real,
    refuse_unless,
    to_number,
    whole,
)

__all__ = [
    "BOOL",
    "MIN_RECOVER_IMAGES",
    "STRING",
    "ZERO_TO_ONE",
    "Config",
    "PruneOptions",
    "Rule",
    "Section",
    "choice",
    "load_config",
    "pair",
    "real",
    "refuse_unless",
    "to_number",
    "whole",
]
