"""The arrays of a network, as read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocrslim.utils import GIB

Arrays = dict[str, np.ndarray]


CHECKPOINT, INFERENCE, ONNX = "checkpoint", "inference", "onnx"


MOST_BYTES = 2 * GIB


@dataclass(frozen=True)
class WeightFile:
    """A file of weights as read: its `path`, its `kind` ('checkpoint', 'inference' or 'onnx'), its arrays."""

    path: Path
    kind: str
    arrays: Arrays
