"""Paddle's program format, written without Paddle's tracer: `framework.proto` and the stream of parameters.

Every version of Paddle Inference since 2.0 reads it, from memory too, and runs it with oneDNN; 3.2 and
later can no longer write it themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocrslim.formats.weights.tensors import write_tensors

_DATA_TYPES: dict[type[np.generic], str] = {np.float32: "FP32", np.int32: "INT32"}  # their names in framework.proto


class ProgramWriter:
    """Collects the operators and parameters of one forward pass: single precision, and 32-bit integers for shapes."""

    def __init__(self) -> None:
        from paddle.base.proto import framework_pb2 as proto

        self._types = proto.VarType
        self._program = proto.ProgramDesc()
        self._block = self._program.blocks.add(idx=0, parent_idx=-1)
        self._parameters: dict[str, np.ndarray] = {}
        self._declared: set[str] = set()
        self._inputs = self._outputs = 0
        for name, kind in (("feed", proto.VarType.FEED_MINIBATCH), ("fetch", proto.VarType.FETCH_LIST)):
            self._block.vars.add(name=name, persistable=True).type.type = kind

    def feed(self, name: str) -> None:
        """An input of the program, of any size and type."""
        self.op("feed", {"X": ["feed"]}, {"Out": [name]}, {"col": self._inputs})
        self._inputs += 1

    def fetch(self, name: str) -> None:
        """An output of the program."""
        self.op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": self._outputs})
        self._outputs += 1

    def parameter(self, array: np.ndarray, name: str = "") -> str:
        """Add a constant to the program, in single precision or as 32-bit integers; return its name."""
        name = name or f"parameter_{len(self._parameters):05d}"
        dtype = np.int32 if array.dtype.kind in "iub" else np.float32
        self._parameters[name] = np.require(array, dtype, "C")
        self._declare(name, array.shape, persistable=True, dtype=dtype)
        return name

    def has_parameter(self, name: str) -> bool:
        """Tell whether a constant has this name."""
        return name in self._parameters

    def op(
        self,
        kind: str,
        inputs: Mapping[str, Sequence[str]],
        outputs: Mapping[str, Sequence[str]],
        attributes: Mapping[str, Any],
    ) -> None:
        """Append an operator; its outputs are declared where they are new."""
        op = self._block.ops.add(type=kind)
        for slot, names in inputs.items():
            op.inputs.add(parameter=slot, arguments=names)
        for slot, names in outputs.items():
            op.outputs.add(parameter=slot, arguments=names)
            for name in names:
                self._declare(name, [-1, -1, -1, -1])
        for name, value in attributes.items():
            _set(op.attrs.add(name=name), value)

    def program(self) -> bytes:
        """Return the content of a `.pdmodel`."""
        return self._program.SerializeToString()

    def parameters(self) -> bytes:
        """Return the content of a `.pdiparams`: the arrays in the order of their names."""
        return write_tensors(self._parameters)

    def _declare(
        self, name: str, shape: Sequence[int], persistable: bool = False, dtype: type[np.generic] = np.float32
    ) -> None:
        if name in self._declared or name in ("feed", "fetch"):
            return
        self._declared.add(name)
        variable = self._block.vars.add(name=name, persistable=persistable)
        variable.type.type = self._types.DENSE_TENSOR
        tensor = variable.type.dense_tensor.tensor
        tensor.data_type = getattr(self._types, _DATA_TYPES[dtype])
        tensor.dims.extend(int(size) for size in shape)


def _set(attribute: Any, value: Any) -> None:
    from paddle.base.proto import framework_pb2 as proto

    sequence = isinstance(value, (list, tuple))
    first = (value[0] if value else 0) if sequence else value
    for kind, single, many, name in (
        (bool, proto.BOOLEAN, proto.BOOLEANS, "b"),
        (int, proto.INT, proto.INTS, "i"),
        (float, proto.FLOAT, proto.FLOATS, "f"),
        (str, proto.STRING, proto.STRINGS, "s"),
    ):
        if isinstance(first, kind):
            attribute.type = many if sequence else single
            if sequence:
                getattr(attribute, {"b": "bools", "i": "ints", "f": "floats", "s": "strings"}[name]).extend(value)
            else:
                setattr(attribute, name, value)
            return
    raise TypeError(f"{attribute.name}: a {type(first).__name__} is no attribute of an operator")
