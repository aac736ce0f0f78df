"""A part of a network as a runtime executes it: few large steps, everything constant folded in.

A batch norm in eval mode, a bias and a scaling are one affine map of each channel; behind a convolution they
go into its weight and bias (Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2),
in double precision. An activation behind it, and a sum with something else, become part of the step too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Id = Hashable
CONV, DECONV, AFFINE = "conv2d", "conv2d_transpose", "affine"
ADD, MULTIPLY, CONCAT = "elementwise_add", "elementwise_mul", "concat"
# `axis` of a sum or product of maps of unequal size: to Paddle the same as -1, where both have four axes
STRETCHED = 0
# ours by the traced operator's name; the names are those of Paddle's program format
ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "swish": "swish",
    "silu": "swish",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
}


@dataclass(frozen=True)
class Activation:
    """An elementwise function: `name` in Paddle's program format, and its parameters."""

    name: str
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a runtime.

    Attributes:
        kind: `CONV`, `DECONV`, `AFFINE`, or an operator of Paddle's program format.
        inputs: ids of the values that go in; the second of a convolution is summed onto its output.
        output: id of the value that comes out.
        attributes: of the operator; `scale` and `shift` (of one entry, or one a channel) of an `AFFINE`.
        weight: float64, of convolutions: [out, in / groups, kh, kw], or [in, out / groups, kh, kw] if transposed.
        bias: float64 [out], or None.
        activation: applied last, or None.
    """

    kind: str
    inputs: tuple[Id, ...]
    output: Id
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    activation: Activation | None = None

    @property
    def convolves(self) -> bool:
        """Tell whether it is a convolution, transposed or not."""
        return self.weight is not None


def fold(steps: Iterable[Step], outputs: Iterable[Id]) -> list[Step]:
    """Merge affine maps, activations and sums into the convolutions that they alone follow."""
    steps = list(steps)
    uses = Counter(used for step in steps for used in step.inputs)
    uses.update(outputs)
    folded: dict[Id, Step] = {}  # by output, in order
    for step in steps:
        maker = next((folded[i] for i in step.inputs if _may_grow(folded.get(i), uses)), None)
        merged = None if maker is None else _merged(maker, step, uses)
        if maker is not None and merged is not None:
            del folded[maker.output]
        folded[step.output] = step if merged is None else merged
    return list(folded.values())


def _may_grow(step: Step | None, uses: Mapping[Id, int]) -> bool:
    return step is not None and step.convolves and step.activation is None and uses[step.output] == 1


def _merged(maker: Step, step: Step, uses: Mapping[Id, int]) -> Step | None:
    """`step` as part of the convolution `maker` before it; None where it must stay on its own."""
    if step.kind == AFFINE and len(maker.inputs) == 1:
        return _scaled(maker, step)
    if step.kind in ACTIVATIONS.values() and maker.kind == CONV:  # a transposed one takes none in Paddle
        return replace(maker, output=step.output, activation=Activation(step.kind, step.attributes))
    if step.kind == ADD and maker.kind == CONV and len(maker.inputs) == 1:
        other = next((i for i in step.inputs if i != maker.output), maker.output)
        # the runtime may write the sum over the other summand, which must have its size
        if uses[other] == 1 and other != maker.output and step.attributes["axis"] != STRETCHED:
            return replace(maker, output=step.output, inputs=(maker.inputs[0], other))
    return None


def _scaled(maker: Step, affine: Step) -> Step:
    assert maker.weight is not None
    scale, shift = affine.attributes["scale"], affine.attributes["shift"]
    bias = shift if maker.bias is None else maker.bias * scale + shift
    return replace(
        maker, output=affine.output, weight=_times(maker, scale), bias=np.broadcast_to(bias, (out_channels(maker),))
    )


def _times(step: Step, scale: np.ndarray) -> np.ndarray:
    """Return the weight of a convolution with each output channel multiplied."""
    weight = step.weight
    assert weight is not None
    scale = np.broadcast_to(scale, (out_channels(step),))
    if step.kind == CONV:
        return weight * scale[:, None, None, None]
    groups = step.attributes["groups"]
    blocks = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, 1, 1)
    return blocks.reshape(weight.shape)


def out_channels(step: Step) -> int:
    """Return the output channels of a convolution."""
    assert step.weight is not None
    return step.weight.shape[0] if step.kind == CONV else step.weight.shape[1] * step.attributes["groups"]
