"""ONNX, by Paddle's converter."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle

from ocrslim.export.formats.converter import convert

ONNX = "onnx"
ONNX_MODEL = "inference.onnx"  # the name that PaddleOCR 3 looks for
OPSET = 11  # the least that PP-OCR's operators need, which every client reads; as quick as 17
CONVERTER = "paddle2onnx==2.1.0"


def onnx_lacks() -> str | None:
    """Return what keeps ONNX from being written here, and the command that helps; None if nothing does."""
    if importlib.util.find_spec("paddle2onnx") is None:
        return f"paddle2onnx is not installed: pip install --no-deps {CONVERTER}"
    if paddle.__version__.startswith("3.3."):
        return (
            f"paddle2onnx cannot convert what paddlepaddle {paddle.__version__} writes: pip install paddlepaddle==3.1.1"
        )
    return None


def write_onnx(program: Path, target: Path, metadata: Mapping[str, str], former: Path | None = None) -> None:
    """Convert an inference model, legacy or PIR, with the same free dimensions.

    Args:
        program: its `.pdmodel` or `.json`.
        target: the file to write.
        metadata: what the file says of itself.
        former: an ONNX file whose names and metadata it is to have, beside its own.

    Raises:
        ExportError: the converter fails on it.
    """
    convert(program, target, OPSET)
    import onnx

    model = onnx.load(str(target))
    _drop_unread(model.graph)
    onnx.helper.set_model_props(model, dict(metadata))
    if former is not None:
        name_as(model, onnx.load(str(former), load_external_data=False))
    onnx.save(model, str(target))


def _drop_unread(graph: Any) -> None:
    """Drop the constants that the converter leaves behind, of which ONNX Runtime warns every user."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    unread = [node for node in graph.node if node.op_type == "Constant" and not read.intersection(node.output)]
    for node in unread:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def name_as(model: Any, former: Any) -> None:
    """Give an ONNX model the names of the inputs and outputs of another, and what metadata it has beside its own."""
    import onnx

    constants = {tensor.name for tensor in former.graph.initializer}
    wanted = [*(value for value in former.graph.input if value.name not in constants), *former.graph.output]
    values = [*model.graph.input, *model.graph.output]
    names = {value.name: other.name for value, other in zip(values, wanted)}
    for value in values:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for places in (node.input, node.output):
            places[:] = [names.get(name, name) for name in places]
    props = {entry.key: entry.value for one in (former, model) for entry in one.metadata_props}
    onnx.helper.set_model_props(model, props)


def opset_of(model: Path) -> int:
    """Return the version of the operators of an ONNX file."""
    import onnx

    opsets = onnx.load(str(model), load_external_data=False).opset_import
    return next(int(each.version) for each in opsets if each.domain in ("", "ai.onnx"))
