"""The arrays in the files that hold a network's weights, read without executing anything in them.

Checkpoints (`.pdparams`) name their arrays by state-dict key; inference models and ONNX files by Paddle's
own parameter names, such as `conv2d_57.w_0`.
"""

from __future__ import annotations

import difflib
import json
import math
import pickle
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats.safe_pickle import read_pickle

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]

CHECKPOINT, INFERENCE, ONNX = "checkpoint", "inference", "onnx"
# Paddle adds this entry to every state dict: state-dict key -> parameter name.
_NAME_TABLE = "StructuredToParameterName@@"
# framework.proto: VarType.Type -> NumPy
_DTYPES = {2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8"}
_DENSE_TENSOR = 7


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
        if source.suffix in (".pdmodel", ".pdiparams", ".json") and source.is_file():
            return _read_inference(source.parent, source.stem)
        path = resolve_checkpoint(source)
        return WeightFile(path, CHECKPOINT, _read_checkpoint(path))
    except OSError as error:
        raise WeightsError(
            f"{source}: cannot be read: {error.strerror or error}: check the path and its permissions"
        ) from error


def resolve_checkpoint(source: str | Path) -> Path:
    """Return the checkpoint that `source` names, adding `.pdparams` where that is left out.

    Raises:
        WeightsError: no such file; the message has what lies there instead.
    """
    source = Path(source)
    completed = Path(f"{source}.pdparams")
    if source.suffix == ".pdparams" or not completed.is_file():
        completed = _existing(source)
    if completed.suffix in (".pdopt", ".states"):
        raise WeightsError(
            f"{completed}: holds the state of an optimiser, expected weights: "
            f"name {completed.with_suffix('.pdparams').name} instead"
        )
    return completed


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
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
    names = [entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir()]
    names.sort(key=lambda name: (-difflib.SequenceMatcher(None, wanted, name).ratio(), name))
    return some(names, limit) if names else "nothing"


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few `items` in one line, and how many more there are."""
    items = list(items)
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _read_checkpoint(path: Path) -> Arrays:
    expected = "expected a checkpoint written by PaddleOCR or ocrslim: copy or download it again"
    try:
        table = read_pickle(path)
    except pickle.UnpicklingError as error:
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
                f"{path}: not a checkpoint: entry {key!r} is a {type(value).__name__}, no array; {expected}"
            )
        arrays[key] = value
    return arrays


def _read_inference(folder: Path, stem: str | None = None) -> WeightFile:
    """Read the weights of the inference model in `folder`, called `stem` if that is given."""
    stems = [stem] if stem else ["inference", *sorted(p.stem for p in folder.glob("*.pdmodel"))]
    for suffix, read_shapes in ((".pdmodel", _legacy_shapes), (".json", _pir_shapes)):
        for name in stems:
            program = folder / f"{name}{suffix}"
            if program.is_file():
                weights = _existing(folder / f"{name}.pdiparams")
                return WeightFile(weights, INFERENCE, _read_combined(weights, program, read_shapes(program)))
    raise WeightsError(
        f"{folder}: no inference model (inference.pdmodel or inference.json, with inference.pdiparams): "
        f"it holds {_listing(folder, 'inference.pdmodel')}: name a checkpoint, or an exported model's folder"
    )


def _legacy_shapes(program: Path) -> Shapes:
    """Shapes of the parameters of a `.pdmodel`, which is a protocol buffer (framework.proto)."""
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    description = framework_pb2.ProgramDesc()
    try:
        description.ParseFromString(program.read_bytes())
    except DecodeError:
        raise WeightsError(
            f"{program}: truncated or damaged, expected a Paddle program: copy or export it again"
        ) from None
    return {
        variable.name: tuple(variable.type.dense_tensor.tensor.dims)
        for block in description.blocks
        for variable in block.vars
        if variable.persistable and variable.type.type == _DENSE_TENSOR
    }


def _pir_shapes(program: Path) -> Shapes:
    """Shapes of the parameters of a PIR program: its operations called `p`."""
    try:
        tree = json.loads(program.read_text(encoding="utf-8"))
        operations = tree["program"]["regions"][0]["blocks"][0]["ops"]
        return {
            _only_string(operation["A"]): tuple(operation["O"]["TT"]["D"][1])
            for operation in operations
            if operation["#"] == "p"
        }
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{program}: truncated, damaged or not a Paddle program ({type(error).__name__}: {error}): "
            "copy or export it again"
        ) from None


def _only_string(values: list[Any]) -> str:
    (name,) = (value for value in values if isinstance(value, str))
    return name


def _read_combined(path: Path, program: Path, shapes: Shapes) -> Arrays:
    """Read a `.pdiparams`: the arrays one after another without names, in the order of sorted names."""
    data = path.read_bytes()
    arrays = {}
    offset = 0
    for name in sorted(shapes):
        try:
            arrays[name], offset = _read_tensor(data, offset)
        except (struct.error, ValueError, KeyError) as error:
            raise WeightsError(
                f"{path}: truncated or damaged at {name} ({error}), expected {len(shapes)} arrays: "
                "copy or export it again"
            ) from None
        if arrays[name].shape != shapes[name]:
            raise WeightsError(
                f"{path}: not the weights of {program.name}: {name} has shape {list(arrays[name].shape)}, "
                f"expected {list(shapes[name])}: keep the two files of one export together"
            )
    if offset != len(data):
        raise WeightsError(
            f"{path}: not the weights of {program.name}: {len(data) - offset} bytes are left after "
            f"{len(shapes)} arrays: keep the two files of one export together"
        )
    return arrays


def _read_tensor(data: bytes, offset: int) -> tuple[np.ndarray, int]:
    """One array of Paddle's stream format (lod_tensor.cc: version, levels, version, TensorDesc, values).

    Returns the array and the offset behind it; raises ValueError, KeyError or struct.error.
    """
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    version, levels, tensor_version, size = struct.unpack_from("<IQIi", data, offset)
    offset += struct.calcsize("<IQIi")
    if version or levels or tensor_version or size < 0:
        raise ValueError("not the header of an array")
    description = framework_pb2.VarType.TensorDesc()
    try:
        description.ParseFromString(data[offset : offset + size])
    except DecodeError:
        raise ValueError("not the description of an array") from None
    offset += size
    if description.data_type not in _DTYPES:
        raise ValueError(f"data type {description.data_type} is not a number that is read here")
    dtype, count = np.dtype(_DTYPES[description.data_type]), math.prod(description.dims)
    end = offset + count * dtype.itemsize
    if any(size < 0 for size in description.dims) or end > len(data):
        raise ValueError(f"{end - len(data)} bytes are missing")
    return np.frombuffer(data, dtype, count, offset).reshape(description.dims), end


def _read_onnx(path: Path) -> Arrays:
    """Initializers and the values of `Constant` nodes, by name."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path)).graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        return {name: onnx.numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    except (DecodeError, ValueError, TypeError, KeyError, onnx.checker.ValidationError) as error:
        raise WeightsError(
            f"{path}: not readable as ONNX ({str(error).splitlines()[0] if str(error) else 'damaged'}): "
            "copy or download it again"
        ) from None
