"""The network in an ONNX file, in Paddle's words.

Nothing in the file is run, and neither Paddle nor a runtime is used: ONNX's own package tells the sizes of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrslim.errors import WeightsError
from ocrslim.formats import FormatFault, OnnxModel, WeightFile, counted, open_onnx, require_finite, sizes_at
from ocrslim.graph.depth import WEIGHTS
from ocrslim.graph.frontends.imported import Imported
from ocrslim.graph.frontends.onnx import elementwise, layers, recurrent, resize, shapes  # noqa: F401  (registration)
from ocrslim.graph.frontends.onnx.network import UNKNOWN, FormError, Network
from ocrslim.graph.frontends.onnx.node import nodes_of
from ocrslim.graph.program import Program, Value

_OTHER = ((1, 0, 64, 128), (1, 0, 0, 128), (1, 0, 0, 0))  # what is added to an input shape, to see which sizes follow


def read_onnx_file(source: str | Path, input_shape: Sequence[int]) -> Imported:
    """Read the network in an ONNX file.

    Sizes that the file leaves open are -1 in the program, as far as a network of images of another size shows.

    Args:
        input_shape: [N, C, H, W] of an image that the network takes.

    Raises:
        WeightsError: the file is missing or damaged; it holds operators that are not known here, or what else
            `ocrslim.formats` does not read; the network does not take such an image; weights are not finite.
    """
    model = open_onnx(source)
    try:
        network, program = _converted(model, input_shape)
    except FormatFault as fault:
        raise WeightsError(f"{source}: {fault}") from None
    arrays = {key: model.constants[name] for key, name in network.parameters(program.ops).items()}
    require_finite(WeightFile(Path(source), "onnx", {key: arrays[key] for key in _layer_tensors(program)}))
    return Imported(_with_free_sizes(model, program, input_shape), arrays, [model.input_name], model.output_names)


def _layer_tensors(program: Program) -> list[str]:
    """Return the parameters of layers; others, such as a mask of -inf, need not be finite."""
    holders = (op for op in program.ops if op.name in WEIGHTS or op.name.endswith("norm"))
    return [value.parameter for op in holders for value in op.values() if value.parameter is not None]


def _converted(model: OnnxModel, input_shape: Sequence[int]) -> tuple[Network, Program]:
    sizes = sizes_at(model, input_shape)  # first: it checks the nodes
    nodes, names = nodes_of(model.nodes, model.constants)
    network = Network(model, sizes, names)
    for node in nodes:
        network.add(node)
    try:
        ops, outputs = network.finished(model.output_names)
    except FormError as form:
        raise FormatFault(str(form)) from None
    unknown = counted(op.name[len(UNKNOWN) :] for op in ops if op.name.startswith(UNKNOWN) and op.alone is None)
    if unknown:
        raise FormatFault(f"it has operators that are not known here ({unknown}): export the network without them")
    return network, Program(ops, [network.source], outputs)


def _with_free_sizes(model: OnnxModel, program: Program, input_shape: Sequence[int]) -> Program:
    """Return the program with -1 for the sizes that differ for the first other image that the network takes."""
    for more in _OTHER:
        free = zip(input_shape, more, model.input_sizes)
        other = [size + by if fixed == -1 else size for size, by, fixed in free]
        try:
            _, found = _converted(model, other)
        except FormatFault:  # it fixes more than it says
            continue
        if _alike(program, found):
            return _joined(program, found)
    return program


def _alike(one: Program, other: Program) -> bool:
    """Tell whether two programs differ in the shapes of values alone; an attribute that differs has a size in it."""

    def described(program: Program) -> list[Any]:
        return [(op.name, list(op.inputs), op.attributes) for op in program.ops]

    return described(one) == described(other)


def _joined(one: Program, other: Program) -> Program:
    """Return two programs that differ in sizes alone as one, -1 where they do."""
    ops = []
    for first, second in zip(one.ops, other.ops):
        pairs = zip(first.inputs.items(), second.inputs.values())
        inputs = {
            name: None if value is None or there is None else _free(value, there) for (name, value), there in pairs
        }
        ops.append(replace(first, inputs=inputs, outputs=list(map(_free, first.outputs, second.outputs))))
    return Program(ops, list(map(_free, one.inputs, other.inputs)), list(map(_free, one.outputs, other.outputs)))


def _free(value: Value, other: Value) -> Value:
    if value.shape is None or other.shape is None:
        return value
    return replace(value, shape=tuple(a if a == b else -1 for a, b in zip(value.shape, other.shape)))
