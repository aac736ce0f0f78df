"""The network in an ONNX file, in Paddle's words. Nothing in the file is run, and neither Paddle nor a runtime is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats import FormatFault, OnnxModel, counted, open_onnx, sizes_at
from ocrslim.graph.frontends.imported import Imported
from ocrslim.graph.frontends.onnx import elementwise, layers, resize, shapes  # noqa: F401  (registration)
from ocrslim.graph.frontends.onnx.network import UNKNOWN, FormError, Network
from ocrslim.graph.frontends.onnx.node import nodes_of
from ocrslim.graph.program import Program


def read_onnx_file(source: str | Path, input_shape: Sequence[int]) -> Imported:
    """Read the network in an ONNX file.

    Args:
        input_shape: of an image [N, C, H, W] that the network takes; the shapes in the program are for it. What the
            program computes holds for other sizes, too, where it holds in the file.

    Raises:
        WeightsError: the file is missing or damaged; it holds operators that are not known here, or what else
            `ocrslim.formats` does not read; the network does not take such an image.
    """
    model = open_onnx(source)
    try:
        return _imported(model, input_shape)
    except FormatFault as fault:
        raise WeightsError(f"{source}: {fault}") from None


def _imported(model: OnnxModel, input_shape: Sequence[int]) -> Imported:
    nodes, names = nodes_of(model.nodes, model.constants)
    network = Network(model, sizes_at(model, input_shape), names)
    for node in nodes:
        network.add(node)
    try:
        ops, outputs = network.finished(model.output_names)
    except FormError as form:
        raise FormatFault(str(form)) from None
    unknown = counted(op.name[len(UNKNOWN) :] for op in ops if op.name.startswith(UNKNOWN))
    if unknown:
        raise FormatFault(f"it has operators that are not known here ({unknown}): export the network without them")
    arrays = {key: model.constants[name] for key, name in network.parameters(ops).items()}
    return Imported(Program(ops, [network.source], outputs), arrays, [model.input_name], model.output_names)
