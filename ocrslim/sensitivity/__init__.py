"""Sensitivity analysis: how much accuracy each layer loses at each ratio."""

from ocrslim.sensitivity.result import SensitivityResult
from ocrslim.sensitivity.results.table import ADAPTIVE, TABLE, load_table, unpruned_score
from ocrslim.sensitivity.run import measure, merge
from ocrslim.sensitivity.sharding import Share, share_of

__all__ = [
    "ADAPTIVE",
    "TABLE",
    "SensitivityResult",
    "Share",
    "load_table",
    "measure",
    "merge",
    "share_of",
    "unpruned_score",
]
