"""Paddle's stream of arrays (`.pdiparams`): one after another without names, in the order of sorted names."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.protobuf import parse_message
from ocrslim.formats.programs.tensor_shapes import Shape, known_shape
from ocrslim.utils import printable

# framework.proto: VarType.Type -> NumPy
_DTYPES = {2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8"}
_HEADER = struct.Struct("<IQIi")


class OtherProgram(FormatFault):
    """Whole arrays, which are not those of the program."""


def read_tensors(data: bytes, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Return the arrays in `data`, which are read-only, by the names in `shapes`.

    Raises:
        OtherProgram: arrays of other shapes, or more of them.
        FormatFault: truncated or damaged.
    """
    arrays = {}
    place = 0
    for name in sorted(shapes):
        try:
            arrays[name], place = _read_tensor(data, place)
        except FormatFault as fault:
            raise FormatFault(f"damaged at {printable(name)} ({fault}), expected {len(shapes)} arrays") from None
        if arrays[name].shape != shapes[name]:
            raise OtherProgram(f"{printable(name)} has shape {list(arrays[name].shape)}, expected {list(shapes[name])}")
    if place != len(data):
        raise OtherProgram(f"{len(data) - place} bytes are left after {len(shapes)} arrays")
    return arrays


def _read_tensor(data: bytes, place: int) -> tuple[np.ndarray, int]:
    """The array at `place` (lod_tensor.cc: version, levels, version, TensorDesc, values), and the place behind it."""
    from paddle.base.proto import framework_pb2

    if len(data) - place < _HEADER.size:
        raise FormatFault("it ends there")
    version, levels, tensor_version, size = _HEADER.unpack_from(data, place)
    place += _HEADER.size
    if version or levels or tensor_version or not 0 <= size <= len(data) - place:
        raise FormatFault("no header of an array")
    description = parse_message(framework_pb2.VarType.TensorDesc, data[place : place + size])
    place += size
    if description.data_type not in _DTYPES:
        raise FormatFault(f"data type {description.data_type} is not a number that is read here")
    shape, dtype = known_shape("it", description.dims), np.dtype(_DTYPES[description.data_type])
    count = int(np.prod(shape, dtype=np.int64))
    end = place + count * dtype.itemsize
    if end > len(data):
        raise FormatFault(f"{end - len(data)} bytes are missing")
    return np.frombuffer(data, dtype, count, place).reshape(shape), end


def write_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Encode arrays as a stream, as `read_tensors` reads it."""
    return b"".join(_tensor_bytes(arrays[name]) for name in sorted(arrays))


def _tensor_bytes(array: np.ndarray) -> bytes:
    """Encode one array (lod_tensor.cc): version, levels, version, TensorDesc, values."""
    from paddle.base.proto import framework_pb2

    kind = next(number for number, dtype in _DTYPES.items() if array.dtype == dtype)
    description = framework_pb2.VarType.TensorDesc(data_type=kind, dims=array.shape)
    head = description.SerializeToString()
    return _HEADER.pack(0, 0, 0, len(head)) + head + array.tobytes()
