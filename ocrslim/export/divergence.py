"""Where an export begins to differ from its source: the layers' outputs against the values inside the export."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn

from ocrslim.export.formats.paddle import MODELS, PIR
from ocrslim.export.staging import onnx_file
from ocrslim.inference import tensors_of

logger = logging.getLogger(__name__)

_NEAR = 1e-3  # of the largest value: inner values are larger than outputs, and so are their roundings


class Ran(NamedTuple):
    """A layer that ran.

    Attributes:
        name: of the layer.
        takes: its first input.
        gives: its first output; the same object is an input of the layers that read it.
    """

    name: str
    takes: Any
    gives: Any


def where_it_starts(model: nn.Layer, folder: Path, image: np.ndarray) -> str:
    """Return words for the first layer whose output is not among the export's values; empty where none can be named.

    Formats that show no inner values, such as Paddle Lite's, name none.
    """
    try:
        made = _values(folder, image)
    except Exception as error:  # of a runtime that fails on what is broken already
        logger.debug("inner values of %s: %s", folder, error)
        return ""
    name = first_wrong(_layers(model, image), [image, *made])
    return f", from the layer {name} on" if name else ""


def first_wrong(layers: Sequence[Ran], values: Sequence[np.ndarray]) -> str:
    """Return the name of the first layer whose input is among the values of an export, and whose output is not.

    A layer that a converter has merged with the one behind it has no output there either, but that one has.

    Args:
        layers: as they run.
        values: of the export, in any order, with the image.
    """
    for place, layer in enumerate(layers):
        if _among(values, layer.takes) and not any(_among(values, each.gives) for each in _chain(layers[place:])):
            return layer.name
    return ""


def _chain(layers: Sequence[Ran]) -> Iterator[Ran]:
    """Yield the first layer, the next that reads its output, and so on."""
    last = None
    for layer in layers:
        if last is None or layer.takes is last.gives:
            last = layer
            yield layer


def _among(values: Sequence[np.ndarray], tensor: Any) -> bool:
    array = np.asarray(tensor)
    return any(_equal(array, value) for value in values)


def _equal(output: np.ndarray, value: np.ndarray) -> bool:
    if output.shape != value.shape:
        return False
    return bool(np.abs(output - value).max() <= _NEAR * max(1.0, float(np.abs(output).max())))


def _layers(model: nn.Layer, image: np.ndarray) -> list[Ran]:
    """Return the innermost layers as they run on `image`."""
    found: list[Ran] = []
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


def _recorder(name: str, found: list[Ran]) -> Any:
    def record(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
        takes, gives = tensors_of(inputs), tensors_of(outputs)
        if takes and gives:
            found.append(Ran(name, takes[0], gives[0]))

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
            for fetch in [op for op in block.ops if op.name() == "pd_op.fetch"]:  # it would number what is fetched too
                block.remove_op(fetch)
            inner = [op.results()[0] for op in block.ops if op.results() and _is_tensor(op.results()[0])]
        else:
            inner = [
                block.var(name) for op in block.ops for name in op.output_arg_names if op.type not in ("feed", "fetch")
            ]
        return list(executor.run(program, feed={feeds[0]: image}, fetch_list=inner))


def _is_tensor(value: Any) -> bool:
    return value.is_dense_tensor_type() and value.get_defining_op().name() not in (
        "builtin.parameter",
        "pd_op.fetch",
        "pd_op.feed",
    )


@contextlib.contextmanager
def _static() -> Iterator[None]:
    paddle.enable_static()
    try:
        yield
    finally:
        paddle.disable_static()
