"""A network in an ONNX file, read and checked without running anything in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.errors import WeightsError
from ocrslim.formats.faults import FormatFault
from ocrslim.formats.programs.protobuf import parse_message
from ocrslim.formats.programs.tensor_shapes import Shape, free_shape
from ocrslim.formats.weights.onnx import arrays_of
from ocrslim.formats.weights.paths import existing_file, unreadable
from ocrslim.formats.weights.weight_file import MOST_BYTES
from ocrslim.utils import printable, read_file

OPSETS = range(9, 23)
_OWN_DOMAINS = ("", "ai.onnx")
_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
_QUANTISED = ("QLinear", "Quantize", "Dequantize", "DynamicQuantize", "MatMulInteger", "ConvInteger", "QGemm")
_HALF_TYPES = {10: "float16", 16: "bfloat16"}  # onnx.proto: TensorProto.DataType
_FLOAT = 1


@dataclass(frozen=True)
class OnnxModel:
    """A network of images in an ONNX file.

    Attributes:
        proto: the file as protobuf parses it.
        nodes: its operators in the order in which they run, `Constant` left out.
        constants: arrays by name: initializers, and the values of `Constant` nodes.
        input_name, input_sizes: of the image [N, C, H, W]; -1 for a size that the file leaves open.
        output_names: of what the network returns.
        opset: version of the operators.
    """

    proto: Any
    nodes: Sequence[Any]
    constants: Mapping[str, np.ndarray]
    input_name: str
    input_sizes: Shape
    output_names: Sequence[str]
    opset: int

    def input_shape(self, wanted: Sequence[int]) -> Shape:
        """Return `wanted`, the shape of an image, if the file takes it.

        Raises:
            FormatFault: it is no shape of an image, or the file fixes another size.
        """
        if len(wanted) != 4 or not all(isinstance(size, int) and size > 0 for size in wanted):
            raise FormatFault(f"an image of shape {list(wanted)} was asked for, expected positive sizes [N, C, H, W]")
        for name, size, fixed in zip(("batch", "channels", "height", "width"), wanted, self.input_sizes):
            if fixed not in (-1, size):
                raise FormatFault(
                    f"it fixes the {name} of its input at {fixed}, asked for was {size}: give an input size "
                    f"{list(self.input_sizes)} (-1: any)"
                )
        return tuple(wanted)


def open_onnx(source: str | Path, quantised: bool = False) -> OnnxModel:
    """Read an ONNX file.

    Args:
        quantised: it may be, as it will only be run.

    Raises:
        WeightsError: it is missing, or as `read_onnx_model` says.
    """
    path = Path(source)
    try:
        return read_onnx_model(read_file(existing_file(path), MOST_BYTES), quantised)
    except OSError as error:
        raise unreadable(path, error) from None
    except FormatFault as fault:
        raise WeightsError(f"{path}: {fault}") from None


def onnx_metadata(source: str | Path) -> dict[str, str]:
    """Return what an ONNX file says of itself, by names that its maker chose.

    Raises:
        WeightsError: it is missing or damaged.
    """
    import onnx

    path = Path(source)
    try:
        proto: Any = parse_message(onnx.ModelProto, read_file(existing_file(path), MOST_BYTES))
    except OSError as error:
        raise unreadable(path, error) from None
    except FormatFault as fault:
        raise WeightsError(f"{path}: {fault}") from None
    return {str(entry.key): str(entry.value) for entry in proto.metadata_props}


def read_onnx_model(data: bytes, quantised: bool = False) -> OnnxModel:
    """Read the bytes of an ONNX file.

    Args:
        quantised: it may have operators on integers in place of its layers.

    Raises:
        FormatFault: damaged, or something that is not read here: arrays in other files, half precision, quantised or
            somebody's own operators, control flow, an opset out of `OPSETS`, more than one input, none of images.
    """
    import onnx

    proto: Any = parse_message(onnx.ModelProto, data)
    if not proto.graph.node:
        raise FormatFault("it holds no network, expected operators")
    _require_text(proto.graph)
    opset = _opset(proto)
    _check_operators(proto.graph.node, opset, quantised)
    if proto.graph.sparse_initializer:
        raise FormatFault("it has sparse arrays, expected dense ones")
    constants = arrays_of(proto.graph)
    _check_types(proto.graph)
    name, sizes = _input(proto.graph, constants)
    nodes = [node for node in proto.graph.node if node.op_type != "Constant"]
    outputs = [output.name for output in proto.graph.output]
    _check_order(nodes, {name, *constants}, outputs)
    return OnnxModel(proto, nodes, constants, name, sizes, outputs, opset)


def _require_text(graph: Any) -> None:
    """Require that all names are text; protobuf gives what is none as bytes."""
    for node in graph.node:
        named = (node.op_type, node.domain, node.name, *node.input, *node.output, *(one.name for one in node.attribute))
        if not all(isinstance(name, str) for name in named) or not all(map(_is_text, node.attribute)):
            raise FormatFault("it is damaged: a name in it is no text")
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        if not isinstance(value.name, str):
            raise FormatFault("it is damaged: a name in it is no text")


def _is_text(attribute: Any) -> bool:
    """Tell whether the text of an attribute, if it has one, is text."""
    try:
        attribute.s.decode()
    except UnicodeDecodeError:
        return False
    return True


def _opset(proto: Any) -> int:
    found = [entry.version for entry in proto.opset_import if entry.domain in _OWN_DOMAINS]
    if len(found) != 1 or found[0] not in OPSETS:
        raise FormatFault(
            f"it has the opset {', '.join(map(str, found)) or 'none'}, expected {OPSETS[0]} to {OPSETS[-1]}: "
            "convert it with onnx.version_converter, or export it again"
        )
    return int(found[0])


def _check_operators(nodes: Sequence[Any], opset: int, quantised: bool) -> None:
    from onnx import defs

    own = counted(f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in _OWN_DOMAINS)
    if own:
        raise FormatFault(f"it has operators of other makers ({own}), expected those of ONNX alone")
    integers = counted(node.op_type for node in nodes if node.op_type.startswith(_QUANTISED))
    if integers and not quantised:
        raise FormatFault(f"it is quantised ({integers}): prune the model in float32 and quantise that")
    unknown = counted(node.op_type for node in nodes if not defs.has(node.op_type, opset, ""))
    if unknown:
        raise FormatFault(f"it has operators that ONNX does not have in opset {opset} ({unknown})")
    flow = counted(node.op_type for node in nodes if node.op_type in _CONTROL_FLOW)
    if flow:
        raise FormatFault(f"it has control flow ({flow}), which is not run: export it without")


def counted(names: Iterable[str]) -> str:
    """List names, each once and with how often it is there."""
    return ", ".join(f"{printable(name, 60)} x{count}" for name, count in sorted(Counter(names).items()))


def _check_types(graph: Any) -> None:
    values = ((value.name, value.type.tensor_type.elem_type) for value in (*graph.input, *graph.output))
    for name, kind in (*values, *_tensor_types(graph)):
        if kind in _HALF_TYPES:
            raise FormatFault(f"{printable(name)} is {_HALF_TYPES[kind]}, expected float32: take the float32 model")


def _tensor_types(graph: Any) -> Iterator[tuple[str, int]]:
    yield from ((tensor.name, tensor.data_type) for tensor in graph.initializer)
    for node in graph.node:
        yield from ((node.output[0], one.t.data_type) for one in node.attribute if one.name == "value" and node.output)


def _input(graph: Any, constants: Mapping[str, np.ndarray]) -> tuple[str, Shape]:
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(printable(value.name, 40) for value in inputs[:5])
        raise FormatFault(f"it has {len(inputs)} inputs ({names}), expected one, an image")
    value = inputs[0]
    kind = value.type.tensor_type
    dims = [one.dim_value if one.HasField("dim_value") and one.dim_value > 0 else -1 for one in kind.shape.dim]
    if len(dims) != 4 or kind.elem_type != _FLOAT:
        raise FormatFault(
            f"its input {printable(value.name)} has the shape {dims} and the data type {kind.elem_type}, "
            "expected a float32 (1) image [N, C, H, W]"
        )
    return value.name, free_shape(value.name, dims)


def _check_order(nodes: Sequence[Any], known: set[str], outputs: Sequence[str]) -> None:
    """Check that every value is made once, and before it is used."""
    for place, node in enumerate(nodes):
        for name in node.input:
            if name and name not in known:
                raise FormatFault(
                    f"node {place} ({node.op_type}) takes {printable(name)}, which nothing before it makes"
                )
        for name in node.output:
            if name in known:
                raise FormatFault(f"node {place} ({node.op_type}) makes {printable(name)}, which is there already")
        known.update(name for name in node.output if name)
    missing = [name for name in outputs if name not in known]
    if missing or not outputs:
        raise FormatFault(f"it returns {printable(missing[0]) if missing else 'nothing'}, which no node makes")
