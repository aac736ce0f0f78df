"""The arrays in the files that hold a network's weights, read without executing anything in them.

Checkpoints (`.pdparams`) name their arrays by state-dict key; inference models and ONNX files by Paddle's
own parameter names, such as `conv2d_57.w_0`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.weights.checkpoint import read_checkpoint
from ocrslim.formats.weights.inference_model import find_program, read_inference_model
from ocrslim.formats.weights.onnx import read_onnx
from ocrslim.formats.weights.paths import existing_file, resolve_checkpoint, unreadable
from ocrslim.formats.weights.weight_file import CHECKPOINT, MOST_BYTES, ONNX, Arrays, WeightFile
from ocrslim.utils import printable, read_file

# what a model in another form than a checkpoint may be named by
EXPORTED = (".onnx", ".pdmodel", ".pdiparams", ".json")


def read_weight_file(source: str | Path) -> WeightFile:
    """Read a checkpoint (with or without `.pdparams`), an inference model's folder or an ONNX file.

    Raises:
        WeightsError: missing, unreadable, truncated, or not a file of weights.
    """
    source = Path(source)
    try:
        if source.is_dir() and not Path(f"{source}.pdparams").is_file():
            return read_inference_model(find_program(source))
        if source.suffix == ".onnx":
            return WeightFile(source, ONNX, _read_onnx(existing_file(source)))
        if source.suffix in EXPORTED and source.is_file():
            return read_inference_model(find_program(source))
        path = resolve_checkpoint(source)
        return WeightFile(path, CHECKPOINT, read_checkpoint(path))
    except OSError as error:
        raise unreadable(source, error) from None


def require_finite(file: WeightFile) -> None:
    """Require that all values in the arrays of `file` are finite.

    Raises:
        WeightsError: naming the first that has.
    """
    for key, array in file.arrays.items():
        wrong = array.size - int(np.isfinite(array).sum()) if array.dtype.kind == "f" else 0
        if wrong:
            raise WeightsError(not_finite(file.path, key, wrong, array.size))


def not_finite(path: Path, key: str, wrong: int, size: int) -> str:
    """Make the message for an array in which `wrong` of `size` values are not finite."""
    return (
        f"{path}: {printable(key)} holds {wrong} NaN or infinite values of {size}, expected finite numbers: "
        "use an earlier checkpoint, from before the training diverged"
    )


def _read_onnx(path: Path) -> Arrays:
    try:
        return read_onnx(read_file(path, MOST_BYTES))
    except FormatFault as fault:
        raise WeightsError(f"{path}: not readable as ONNX: {fault}: copy or download it again") from None
