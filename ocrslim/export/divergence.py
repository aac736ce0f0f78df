"""Where an export begins to differ from its source: the layers' outputs against the values inside the export."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ocrslim.export.formats.paddle import MODELS, PIR
from ocrslim.export.staging import onnx_file
from ocrslim.inference import tensors_of

logger = logging.getLogger(__name__)

_NEAR = 1e-3  # of the largest value: inner values are larger than outputs, and so are their roundings
_RUN = 3  # so many layers in a row without their outputs are no fusion of a convolution, its norm and activation


def where_it_starts(model: nn.Layer, folder: Path, image: np.ndarray) -> str:
    """Return words for the first layer whose output is not among the export's values; empty where none can be named.

    Formats that show no inner values, such as Paddle Lite's, name none.
    """
    try:
        made = _values(folder, image)
    except Exception as error:  # of a runtime that fails on what is broken already
        logger.debug("inner values of %s: %s", folder, error)
        return ""
    name = first_missing(_layers(model, image), made)
    return f", from the layer {name} on" if name else ""


def first_missing(layers: Sequence[tuple[str, np.ndarray]], values: Sequence[np.ndarray]) -> str:
    """Return the name of the first layer whose output, and those of the layers behind it, no value equals.

    A layer that a converter has merged with the next ones has no value either, but those behind it have.

    Args:
        layers: names and outputs, in the order in which they run.
        values: of the export, in any order.
    """
    missing = [not any(_equal(output, value) for value in values) for _, output in layers]
    for place, (name, _) in enumerate(layers):
        if all(missing[place : place + _RUN]):
            return name
    return ""


def _equal(output: np.ndarray, value: np.ndarray) -> bool:
    if output.shape != value.shape:
        return False
    return bool(np.abs(output - value).max() <= _NEAR * max(1.0, float(np.abs(output).max())))


def _layers(model: nn.Layer, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the names of the innermost layers and their outputs for `image`, as they run."""
    found: list[tuple[str, np.ndarray]] = []
    hooks = []
    try:
        for name, layer in model.named_sublayers():
            if not layer.sublayers():
                hooks.append(layer.register_forward_post_hook(_recorder(name, found)))
        model.eval()
        with paddle.no_grad():
            model(paddle.to_tensor(image))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _recorder(name: str, found: list[tuple[str, np.ndarray]]) -> Any:
    def record(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        found.extend((name, tensor.numpy()) for tensor in tensors_of(outputs)[:1])

    return record


def _values(folder: Path, image: np.ndarray) -> list[np.ndarray]:
    """Return all values of floating point inside an export."""
    file = onnx_file(folder)
    found = _onnx_values(file, image) if file is not None else _paddle_values(folder, image)
    return [value for value in map(np.asarray, found) if value.dtype == np.float32]


def _onnx_values(file: Path, image: np.ndarray) -> list[Any]:
    import onnx
    import onnxruntime

    model = onnx.load(str(file))
    known = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "Constant":
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: image}))


def _paddle_values(folder: Path, image: np.ndarray) -> list[Any]:
    pir = (folder / MODELS[PIR]).is_file()
    guard = paddle.pir_utils.IrGuard if pir else paddle.pir_utils.OldIrGuard
    with guard(), _static(), paddle.static.scope_guard(paddle.static.Scope()):
        executor = paddle.static.Executor(paddle.CPUPlace())
        program, feeds, _ = paddle.static.load_inference_model(str(folder / "inference"), executor)
        block = program.global_block()
        if pir:
            inner = [value for op in block.ops for value in op.results() if _is_tensor(value)]
        else:
            inner = [
                block.var(name) for op in block.ops for name in op.output_arg_names if op.type not in ("feed", "fetch")
            ]
        return list(executor.run(program, feed={feeds[0]: image}, fetch_list=inner))


def _is_tensor(value: Any) -> bool:
    return value.is_dense_tensor_type() and value.get_defining_op().name() not in ("builtin.parameter", "pd_op.fetch")


@contextlib.contextmanager
def _static() -> Iterator[None]:
    paddle.enable_static()
    try:
        yield
    finally:
        paddle.disable_static()
