"""The arrays in the files that hold a network's weights, read without executing anything in them.

Checkpoints (`.pdparams`) name their arrays by state-dict key; inference models and ONNX files by Paddle's
own parameter names, such as `conv2d_57.w_0`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault, shown
from ocrslim.formats.onnx_weights import read_onnx
from ocrslim.formats.paddle_tensors import OtherProgram, read_tensors
from ocrslim.formats.pickles.safe_pickle import read_pickle
from ocrslim.formats.programs.program_check import read_program
from ocrslim.utils import GIB, open_regular, read_file

Arrays = dict[str, np.ndarray]

# what a model in another form than a checkpoint may be named by
EXPORTED = (".onnx", ".pdmodel", ".pdiparams", ".json")
CHECKPOINT, INFERENCE, ONNX = "checkpoint", "inference", "onnx"
# `pathlib` makes one slash of two
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_ENTRIES = 1000  # of a folder, that a missing file's name is compared with
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
MOST_BYTES = 2 * GIB


@dataclass(frozen=True)
class WeightFile:
    """What was found: `path` of the file, its `kind` ('checkpoint', 'inference' or 'onnx'), its arrays."""

    path: Path
    kind: str
    arrays: Arrays


def read_weight_file(source: str | Path) -> WeightFile:
    """Read a checkpoint (with or without `.pdparams`), an inference model's folder or an ONNX file.

    Raises:
        WeightsError: missing, unreadable, truncated, or not a file of weights.
    """
    source = Path(source)
    try:
        if source.is_dir() and not Path(f"{source}.pdparams").is_file():
            return _read_inference(source)
        if source.suffix == ".onnx":
            return WeightFile(source, ONNX, _read_onnx(_existing(source)))
        if source.suffix in EXPORTED and source.is_file():
            return _read_inference(source.parent, source.stem)
        path = resolve_checkpoint(source)
        return WeightFile(path, CHECKPOINT, _read_checkpoint(path))
    except OSError as error:
        raise unreadable(source, error) from None


def unreadable(source: object, error: OSError) -> WeightsError:
    """What to say where weights cannot be read."""
    return WeightsError(
        f"{shown(source, 300)}: cannot be read: {error.strerror or error}: check the path and its permissions"
    )


def require_finite(file: WeightFile) -> None:
    """Demand that no array of `file` has a value that is no number.

    Raises:
        WeightsError: naming the first that has.
    """
    for key, array in file.arrays.items():
        wrong = array.size - int(np.isfinite(array).sum()) if array.dtype.kind == "f" else 0
        if wrong:
            raise WeightsError(not_finite(file.path, key, wrong, array.size))


def not_finite(path: Path, key: str, wrong: int, size: int) -> str:
    """What to say of an array with `wrong` values of `size` that are no numbers."""
    return (
        f"{path}: {shown(key)} holds {wrong} NaN or infinite values of {size}, expected finite numbers: "
        "use an earlier checkpoint, from before the training diverged"
    )


def resolve_checkpoint(source: str | Path) -> Path:
    """Return the checkpoint that `source` names, adding `.pdparams` where that is left out.

    Raises:
        WeightsError: no such file, and the message has what lies there instead; or none that can be read.
    """
    source = Path(source)
    completed = Path(f"{source}.pdparams")
    try:
        if source.suffix == ".pdparams" or not completed.is_file():
            completed = _existing(source)
    except OSError as error:
        raise unreadable(source, error) from None
    if completed.suffix in (".pdopt", ".states"):
        raise WeightsError(
            f"{completed}: holds the state of an optimiser, expected weights: "
            f"name {completed.with_suffix('.pdparams').name} instead"
        )
    return completed


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if os.path.lexists(path) and not path.is_dir():
        open_regular(path).close()  # says what it is, if it is no file
    if _ADDRESS.match(str(path)):
        raise WeightsError(
            f"{path}: an address, expected a file: nothing is fetched here; download it, unpack it if it is an "
            "archive, and name the file"
        )
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir():
            folder = folder.parent
        where = f"of its folders only {folder} exists, which holds {_listing(folder, path.name)}"
    else:
        where = f"{folder} holds {_listing(folder, path.name)}"
    raise WeightsError(
        f"{path}: not found{'' if path.suffix else ', with or without .pdparams'}: {where}: "
        "correct the path, or put a checkpoint (.pdparams), an inference folder or an ONNX file there"
    )


def _listing(folder: Path, wanted: str, limit: int = 5) -> str:
    """What lies in `folder`, names most like `wanted` first."""
    entries = itertools.islice(folder.iterdir(), _ENTRIES)
    names = [shown(entry.name) + ("/" if entry.is_dir() else "") for entry in entries]
    names.sort(key=lambda name: (-difflib.SequenceMatcher(None, wanted, name).ratio(), name))
    return some(names, limit) if names else "nothing"


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few `items` in one line, and how many more there are."""
    items = [shown(item) for item in items]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _read_checkpoint(path: Path) -> Arrays:
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
                f"{path}: not a checkpoint: entry {shown(repr(key))} is a {type(value).__name__}, no array; {expected}"
            )
        arrays[key] = value
    return arrays


def _other_kind(path: Path) -> str | None:
    """What else a file is, and what helps; None where its first bytes do not tell."""
    with open_regular(path) as stream:
        head = stream.read(512)
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it (tar -xf), and name what is in it"
    return next((kind for start, kind in _OTHERS.items() if head.lstrip().startswith(start)), None)


def _read_inference(folder: Path, stem: str | None = None) -> WeightFile:
    """Read the weights of the inference model in `folder`, called `stem` if that is given."""
    stems = [stem] if stem else ["inference", *sorted(p.stem for p in folder.glob("*.pdmodel"))]
    for suffix in (".pdmodel", ".json"):
        for name in stems:
            program = folder / f"{name}{suffix}"
            if program.is_file():
                weights = _existing(folder / f"{name}.pdiparams")
                return WeightFile(weights, INFERENCE, _read_combined(weights, program))
    raise WeightsError(
        f"{folder}: no inference model (inference.pdmodel or inference.json, with inference.pdiparams): "
        f"it holds {_listing(folder, 'inference.pdmodel')}: name a checkpoint, or an exported model's folder"
    )


def _read_combined(path: Path, program: Path) -> Arrays:
    """Read the `.pdiparams` of `program`."""
    shapes = _parameters(program)
    try:
        return read_tensors(read_file(path, MOST_BYTES), shapes)
    except OtherProgram as fault:
        raise WeightsError(
            f"{path}: not the weights of {program.name}: {fault}: keep the two files of one export together"
        ) from None
    except FormatFault as fault:
        raise WeightsError(f"{path}: truncated or {fault}: copy or export it again") from None


def _parameters(program: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a program's parameters, by name."""
    try:
        return read_program(program).parameters()
    except FormatFault as fault:
        raise WeightsError(f"{program}: truncated or damaged: {fault}: copy or export it again") from None


def _read_onnx(path: Path) -> Arrays:
    try:
        return read_onnx(read_file(path, MOST_BYTES))
    except FormatFault as fault:
        raise WeightsError(f"{path}: not readable as ONNX: {fault}: copy or download it again") from None
