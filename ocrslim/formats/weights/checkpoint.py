"""Paddle's checkpoints (`.pdparams`): arrays by state-dict key."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats.pickles.safe_pickle import read_pickle
from ocrslim.formats.weights.weight_file import MOST_BYTES, Arrays
from ocrslim.utils import open_regular, printable

# what a file that is no checkpoint may be, by its first bytes
_OTHERS = {
    b"PK": "a zip archive, as PyTorch writes its checkpoints: unpack it, or convert it to Paddle's format",
    b"\x1f\x8b": "a gzip archive: unpack it (tar -xf)",
    b"<": "a web page or XML, as a download that failed leaves: download it again",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with git lfs pull",
    b"\x08": "a protocol buffer, such as ONNX: an ONNX file has to be called .onnx",
}


# Paddle adds this entry to every state dict: state-dict key -> parameter name.
_NAME_TABLE = "StructuredToParameterName@@"


def read_checkpoint(path: Path) -> Arrays:
    expected = "expected a checkpoint written by PaddleOCR or ocrslim: copy or download it again"
    try:
        table = read_pickle(path, MOST_BYTES)
    except pickle.UnpicklingError as error:
        other = _other_kind(path)
        if other:
            raise WeightsError(f"{path}: not a checkpoint but {other}") from None
        raise WeightsError(f"{path}: not a checkpoint: {error}; {expected}") from None
    if not isinstance(table, dict):
        raise WeightsError(f"{path}: not a checkpoint: it holds a {type(table).__name__}; {expected}")
    arrays = {}
    for key, value in table.items():
        if key == _NAME_TABLE:
            continue
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = value[1]  # Paddle 2.0 stored (parameter name, array)
        if not isinstance(key, str) or not isinstance(value, np.ndarray):
            raise WeightsError(
                f"{path}: not a checkpoint: entry {printable(repr(key))} is a {type(value).__name__}, not an array; "
                f"{expected}"
            )
        arrays[key] = value
    return arrays


def _other_kind(path: Path) -> str | None:
    """Guess the format of another file from its first bytes, with the remedy; None if unknown."""
    with open_regular(path) as stream:
        head = stream.read(512)
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it (tar -xf), and name what is in it"
    return next((kind for start, kind in _OTHERS.items() if head.lstrip().startswith(start)), None)
