"""A network's weights, as arrays and as a checkpoint."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ocrslim.formats import Arrays
from ocrslim.utils import atomic_file


def state_arrays(model: nn.Layer) -> Arrays:
    """Return copies of the model's parameters and batch-norm statistics by state-dict key."""
    return {key: np.array(tensor.numpy()) for key, tensor in model.state_dict().items()}


def save_checkpoint(model: nn.Layer, path: str | Path) -> Path:
    """Write the model's state dict, atomically, as `paddle.load` and PaddleOCR read it.

    Returns the path written, with `.pdparams` added where it was left out.

    Raises:
        ArtifactError: the file cannot be written; what was there before is intact.
    """
    path = Path(path)
    if path.suffix != ".pdparams":
        path = Path(f"{path}.pdparams")
    buffer = io.BytesIO()
    paddle.save(model.state_dict(), buffer)
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())
    return path
