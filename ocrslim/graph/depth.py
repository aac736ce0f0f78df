"""The kind of each layer of a network, and its place between input and output."""

from __future__ import annotations

import math
from typing import NamedTuple

from ocrslim.graph.program import Op, Program, Value

CONVOLUTION, DEPTHWISE, TRANSPOSED, LINEAR = "convolution", "depthwise", "transposed", "linear"
WEIGHTS = {  # operator -> the argument that is its weight
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d", "deformable_conv"), "filter"),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose"), "filter"),
    **dict.fromkeys(("matmul", "bmm"), "y"),
}


class Place(NamedTuple):
    """One layer's place.

    Attributes:
        kind: `CONVOLUTION`, `DEPTHWISE`, `TRANSPOSED` or `LINEAR`.
        block: number of the block that it lies in, the stem being 1. A block is two layers that mix the channels of a
            map, one after the other, as the expansion and the projection of MobileNetV3's blocks or the two
            convolutions of ResNet's; depthwise convolutions and layers over a single position (squeeze-and-excitation)
            belong to the block that they lie in.
    """

    kind: str
    block: int


def places(program: Program) -> dict[str, Place]:
    """The places of a network's layers by state-dict key of their weights; of a layer that runs twice, the first.

    Blocks are counted along the longest way from the input.
    """
    depths: dict[int, int] = {}
    found: dict[str, Place] = {}
    for op in program.ops:
        depth = max((depths.get(value.id, 0) for value in op.values()), default=0)
        weight = _weight(op)
        if weight is not None and weight.parameter is not None:
            kind = _kind(op, weight)
            depth += kind != DEPTHWISE and _is_map(op.outputs[0])
            found.setdefault(weight.parameter, Place(kind, depth // 2 + 1))
        depths.update((value.id, depth) for value in op.outputs)
    return found


def _weight(op: Op) -> Value | None:
    argument = WEIGHTS.get(op.name)
    return None if argument is None else op.inputs.get(argument)


def _kind(op: Op, weight: Value) -> str:
    if WEIGHTS[op.name] != "filter":
        return LINEAR
    if op.name.endswith("transpose"):
        return TRANSPOSED
    groups, shape = op.attributes.get("groups") or 1, weight.shape or ()
    return DEPTHWISE if groups > 1 and shape[0] == groups and shape[1] == 1 else CONVOLUTION


def _is_map(value: Value) -> bool:
    """Tell a map from a vector of channels."""
    return math.prod((value.shape or ())[2:]) > 1
